//! Training without a learner: the five steps by hand.
//!
//! Run:    cargo run --release --example own_loop
//! Expect: a last line like `test accuracy 93.60 %`

use std::error::Error;
use std::sync::Arc;

use pyrograph::burn::module::Module;
use pyrograph::burn::optim::{GradientsParams, SgdConfig, momentum::MomentumConfig};
use pyrograph::burn::tensor::Device;
use pyrograph::data::order::Order;
use pyrograph::data::{LoaderConfig, Preprocess, Source, tensor::TensorLoader};
use pyrograph::infer::Tally;
use pyrograph::model::{InputShape, cross_entropy};
use pyrograph::{DataSet, Loader, ModelConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    let data = DataSet::digits(0);
    let loader = |source: Arc<dyn Source>, order, device| {
        let preprocess = Preprocess::new(1, 28, 28);
        Loader::new(source, LoaderConfig { order, preprocess, ..LoaderConfig::default() })
            .map(|loader| TensorLoader::new(loader, device))
    };
    let train = loader(data.train, Order::Shuffled, device.clone())?;

    // 1. A network with starting weights.
    let input = InputShape { channels: 1, height: 28, width: 28 };
    let mut model = ModelConfig::from_name("mlp", input, 10)?.init(0, &device);
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    for epoch in 0..10 {
        for batch in train.epoch(epoch) {
            let batch = batch?;
            // 2. Forward: images to logits. 3. Loss: how far they are from the truth.
            let loss = cross_entropy(model.forward(batch.images), batch.targets, 0.0);
            // 4. Backward: how the loss depends on each weight.
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            // 5. Update: a small step downhill. Then the next batch.
            model = optimizer.step(0.02, model, gradients);
        }
    }

    let model = model.valid();
    let mut tally = Tally::new(10);
    for batch in loader(data.test.ok_or("no test images")?, Order::Sequential, device.inner())?.epoch(0) {
        let batch = batch?;
        let logits = model.forward(batch.images).into_data().try_to_vec::<f32>()?;
        let targets = batch.targets.into_data().convert::<i64>().try_to_vec::<i64>()?;
        for (logits, target) in logits.chunks(10).zip(targets) {
            tally.add(logits, target as usize);
        }
    }
    println!("test accuracy {:.2} %", 100.0 * tally.top1());
    Ok(())
}
