//! How long each operation takes forward and backward on the CPU, and how far that is from the fastest product of matrices.
//!
//! `RAYON_NUM_THREADS=2 cargo bench -p pyrograph-model --bench ops` prints a table: milliseconds, GFLOP/s and their share of what a product of two matrices of 1536 x 1536
//! reaches. With `-- --vs "PYTHON ../../benches/torch_ops.py"` PyTorch does each operation in turn; the last columns are its milliseconds divided by ours. With
//! `-- --burn` so does Burn by its own operations, where there is one for it.
//! With glibc, `MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2147483647` keeps freed memory, as the program does;
//! otherwise page faults are much of what is measured.
//! Further arguments pick the operations whose line contains one of them, or are lines of others. An operation's line is what PyTorch's side reads.

// Clippy takes only tests for tests, and a benchmark that cannot go on says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use burn::tensor::module::{conv2d, layer_norm, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};
use pyrograph_model::InitRng;
use pyrograph_model::layer::{
    Activation, Attention, BatchNorm2d, Conv2dConfig, LayerNorm, LinearConfig, LinearInit,
    adaptive_avg_pool2d, max_pool2d,
};

/// `conv BATCH INPUTS OUTPUTS SIZE KERNEL STRIDE GROUPS`, `linear ROWS INPUTS OUTPUTS`, and the others by their shapes.
const OPS: [&str; 34] = [
    "conv 8 120 120 28 3 1 120",
    "conv 8 120 120 28 5 1 120",
    "conv 8 120 120 28 1 1 1",
    "conv 8 64 64 28 3 1 1",
    "conv 8 256 256 8 3 1 1",
    "conv 8 64 64 112 3 1 1",
    "conv 32 64 64 32 3 1 1",
    "conv 32 128 128 16 3 1 1",
    "conv 32 256 256 8 3 1 1",
    "conv 32 512 512 4 3 1 1",
    "conv 32 64 128 32 3 2 1",
    "conv 8 3 64 224 7 2 1",
    "conv 8 3 768 224 16 16 1",
    "conv 8 64 256 56 1 1 1",
    "conv 8 1024 256 14 1 1 1",
    "conv 8 512 2048 7 1 1 1",
    "conv 8 256 512 56 1 2 1",
    "conv 8 40 40 56 7 1 40",
    "conv 8 960 960 7 5 1 960",
    "linear 1536 1536 1536",
    "linear 64 784 500",
    "linear 64 500 10",
    "linear 1576 192 576",
    "linear 1576 192 768",
    "linear 1576 768 192",
    "attention 8 197 192 3",
    "layer_norm 1576 192",
    "layer_norm_channels 8 40 56",
    "batch_norm 32 64 32",
    "relu 8 64 112",
    "gelu 8 160 56",
    "silu 8 96 112",
    "max_pool 8 64 112 3 2",
    "mean 8 960 7",
];

/// Seconds that one operation is measured for, forward and backward.
const SECONDS: f64 = 0.4;

fn main() {
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut peer = arguments.iter().position(|argument| argument == "--vs").map(|at| {
        let command = arguments.drain(at..(at + 2).min(arguments.len())).next_back().unwrap_or_default();
        Peer::new(&command)
    });
    let burns =
        arguments.iter().position(|argument| argument == "--burn").map(|at| arguments.remove(at)).is_some();
    // The second time, when the processor is awake.
    let [_, best] = [(); 2].map(|()| Times::of("linear 1536 1536 1536").rate()[0]);
    println!("A product of matrices: {best:.0} GFLOP/s\n");
    println!("{:34} {:^23} | {:^23} | others / ours", "", "forward", "backward");
    let mut ops: Vec<&str> = Vec::new();
    for argument in &arguments {
        let known = OPS.iter().filter(|op| op.contains(argument.as_str()));
        ops.extend(
            known.chain(OPS.iter().all(|op| !op.contains(argument.as_str())).then_some(&argument.as_str())),
        );
    }
    for op in if ops.is_empty() { &OPS[..] } else { &ops } {
        let ours = Times::of(op);
        let [forward, backward] = ours.rate();
        let parts = [(ours.forward, forward), (ours.backward, backward)].map(|(seconds, rate)| {
            let rate = match rate {
                0.0 => String::new(),
                _ => format!("{rate:4.0} GFLOP/s {:3.0} %", 100.0 * rate / best),
            };
            format!("{:7.2} ms {rate:18}", 1e3 * seconds)
        });
        let of_peer = peer.as_mut().map(|peer| ("PyTorch", peer.times(op)));
        let of_burn = burns.then(|| Some(("Burn", times_of_burn(op)?))).flatten();
        let beside = of_peer.into_iter().chain(of_burn).map(|(name, [forward, backward])| {
            format!("{name} {:.2} {:.2}", forward / ours.forward, backward / ours.backward)
        });
        println!("{op:30} {} | {} | {}", parts[0], parts[1], beside.collect::<Vec<_>>().join(", "));
    }
}

/// Seconds.
struct Times {
    forward: f64,
    backward: f64,
    /// Multiplications and additions, forward.
    flops: f64,
}

impl Times {
    fn of(op: &str) -> Self {
        let mut words = op.split(' ');
        let name = words.next().unwrap();
        let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
        let device = Device::flex();
        let rng = &mut InitRng::new(0);
        let learns = device.clone().autodiff();
        match (name, numbers.as_slice()) {
            ("conv", &[batch, inputs, outputs, size, kernel, stride, groups]) => {
                let config = Conv2dConfig { stride, groups, ..Conv2dConfig::new(inputs, outputs, kernel) };
                let padding = if stride < kernel { kernel / 2 } else { 0 };
                let config = Conv2dConfig { padding, ..config };
                let (plain, learning) = (config.init(rng, &device), config.init(rng, &learns));
                let out = (size + 2 * padding - kernel) / stride + 1;
                let macs = batch * outputs * out * out * inputs / groups * kernel * kernel;
                measure([batch, inputs, size, size], macs, |x| plain.forward(x), |x| learning.forward(x))
            }
            ("linear", &[rows, inputs, outputs]) => {
                let config = LinearConfig::new(inputs, outputs);
                let (plain, learning) = (config.init(rng, &device), config.init(rng, &learns));
                measure(
                    [rows, inputs],
                    rows * inputs * outputs,
                    |x| plain.forward(x),
                    |x| learning.forward(x),
                )
            }
            ("attention", &[batch, tokens, features, heads]) => {
                let mut layer = |device| Attention::new(features, heads, LinearInit::Default, rng, device);
                let (plain, learning) = (layer(&device), layer(&learns));
                let macs = batch * tokens * features * (4 * features + 2 * tokens);
                measure([batch, tokens, features], macs, |x| plain.forward(x), |x| learning.forward(x))
            }
            ("layer_norm", &[rows, features]) => {
                let mut layer = |device| LayerNorm::new(features, 1e-6, rng, device);
                let (plain, learning) = (layer(&device), layer(&learns));
                measure([rows, features], 0, |x| plain.forward(x), |x| learning.forward(x))
            }
            ("layer_norm_channels", &[batch, channels, size]) => {
                let mut layer = |device| LayerNorm::new(channels, 1e-6, rng, device);
                let (plain, learning) = (layer(&device), layer(&learns));
                let shape = [batch, channels, size, size];
                measure(shape, 0, |x| plain.forward_channels(x), |x| learning.forward_channels(x))
            }
            ("batch_norm", &[batch, channels, size]) => {
                let mut layer = |device| BatchNorm2d::new(channels, rng, device);
                let (plain, learning) = (layer(&device), layer(&learns));
                measure([batch, channels, size, size], 0, |x| plain.forward(x), |x| learning.forward(x))
            }
            (name, &[batch, channels, size, ref more @ ..]) => {
                let apply = |x: Tensor<4>| match (name, more) {
                    ("relu", []) => Activation::Relu.forward(x),
                    ("gelu", []) => Activation::Gelu.forward(x),
                    ("silu", []) => Activation::Silu.forward(x),
                    ("max_pool", &[kernel, stride]) => max_pool2d(x, kernel, stride, kernel / 2),
                    ("mean", []) => adaptive_avg_pool2d(x, 1),
                    _ => panic!("no operation {op}"),
                };
                measure([batch, channels, size, size], 0, apply, apply)
            }
            _ => panic!("no operation {op}"),
        }
    }

    /// GFLOP/s forward and backward, where there are twice as many; 0 where nothing is multiplied.
    fn rate(&self) -> [f64; 2] {
        [1e-9 * self.flops / self.forward, 2e-9 * self.flops / self.backward]
    }
}

/// Seconds of Burn's own operation, forward and backward.
fn times_of_burn(op: &str) -> Option<[f64; 2]> {
    let (name, numbers) = op.split_once(' ')?;
    let numbers: Vec<usize> = numbers.split(' ').map(|word| word.parse().unwrap()).collect();
    let off = Device::flex();
    let on = off.clone().autodiff();
    let times = match (name, numbers.as_slice()) {
        ("conv", &[batch, inputs, outputs, size, kernel, stride, groups]) => {
            let padding = if stride < kernel { kernel / 2 } else { 0 };
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
            let shape = [outputs, inputs / groups, kernel, kernel];
            let weight = |device| ones(shape, device);
            let apply = |weight: &Tensor<4>, x| conv2d(x, weight.clone(), None, options.clone());
            let (plain, learning) = (weight(&off), weight(&on));
            measure([batch, inputs, size, size], 0, |x| apply(&plain, x), |x| apply(&learning, x))
        }
        ("linear", &[rows, inputs, outputs]) => {
            let layer = |device| (ones([inputs, outputs], device), ones([outputs], device));
            let apply =
                |(weight, bias): &(Tensor<2>, Tensor<1>), x| linear(x, weight.clone(), Some(bias.clone()));
            let (plain, learning) = (layer(&off), layer(&on));
            measure([rows, inputs], 0, |x: Tensor<2>| apply(&plain, x), |x| apply(&learning, x))
        }
        ("layer_norm", &[rows, features]) => {
            let layer = |device| (ones([features], device), ones([features], device));
            let apply = |(gamma, beta): &(Tensor<1>, Tensor<1>), x: Tensor<2>| {
                layer_norm(x, gamma.clone(), Some(beta.clone()), 1e-6)
            };
            let (plain, learning) = (layer(&off), layer(&on));
            measure([rows, features], 0, |x| apply(&plain, x), |x| apply(&learning, x))
        }
        ("relu" | "gelu" | "silu", &[batch, channels, size]) => {
            let apply = |x: Tensor<4>| match name {
                "relu" => activation::relu(x),
                "gelu" => activation::gelu(x),
                _ => activation::silu(x),
            };
            measure([batch, channels, size, size], 0, apply, apply)
        }
        _ => return None,
    };
    Some([times.forward, times.backward])
}

/// A weight.
fn ones<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let ones = Tensor::ones(shape, device);
    if device.is_autodiff() { ones.require_grad() } else { ones }
}

fn measure<const A: usize, const B: usize>(
    shape: [usize; A],
    macs: usize,
    plain: impl Fn(Tensor<A>) -> Tensor<B>,
    learning: impl Fn(Tensor<A>) -> Tensor<B>,
) -> Times {
    let values = |n: usize| ((n * 7919) % 2003) as f32 / 1001.5 - 1.0;
    let data = TensorData::new((0..shape.iter().product()).map(values).collect::<Vec<f32>>(), shape);
    let x = Tensor::<A>::from_data(data.clone(), &Device::flex());
    let forward = median(|| {
        let started = Instant::now();
        let _out = plain(x.clone());
        started.elapsed().as_secs_f64()
    });
    let x = Tensor::<A>::from_data(data, &Device::flex().autodiff()).require_grad();
    let backward = median(|| {
        let out = learning(x.clone());
        let started = Instant::now();
        let _gradients = out.backward();
        started.elapsed().as_secs_f64()
    });
    Times { forward, backward, flops: 2.0 * macs as f64 }
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    run();
    let mut times = Vec::new();
    while times.len() < 5 || times.iter().sum::<f64>() < SECONDS {
        times.push(run());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Another program, which reads an operation a line and answers with the milliseconds that it takes, forward and backward.
struct Peer(Child);

impl Peer {
    fn new(command: &str) -> Self {
        let mut words = command.split(' ');
        let mut child = Command::new(words.next().unwrap());
        child.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(child.spawn().expect("the other program"))
    }

    fn times(&mut self, op: &str) -> [f64; 2] {
        writeln!(self.0.stdin.as_mut().unwrap(), "{op}").expect("a line to the other program");
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).expect("its answer");
        let mut numbers =
            line.split_whitespace().map(|word| 1e-3 * word.parse::<f64>().expect("milliseconds"));
        [numbers.next().unwrap(), numbers.next().unwrap()]
    }
}
