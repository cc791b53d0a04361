//! The learning rate as a function of the step.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::{EpochRow, Pace, ScheduleRecipe};

/// A learning rate schedule in closed form: a step's rate depends on its number alone, and for some on what earlier epochs have reached, so that
/// a run can start at any step.
///
/// During the first `warmup_steps` the rate rises linearly; the first step has `lr / warmup_steps`, the last of
/// them `lr`. The shape then runs over the remaining steps.
#[derive(Debug, Clone)]
pub struct Schedule {
    lr: f64,
    warmup_steps: u64,
    total_steps: u64,
    shape: Shape,
    steps_per_epoch: u64,
    pace: Pace,
    step: u64,
}

#[derive(Debug, Clone)]
enum Shape {
    Constant,
    /// Multiplied by `gamma` every `every` steps.
    Step {
        every: u64,
        gamma: f64,
    },
    /// Multiplied by `gamma` at each of these steps.
    MultiStep {
        at: Vec<u64>,
        gamma: f64,
    },
    /// Multiplied by `gamma` after so many epochs without a better accuracy.
    Plateau {
        patience: usize,
        gamma: f64,
    },
    /// Half a cosine (SGDR without restarts, <https://arxiv.org/abs/1608.03983>).
    Cosine {
        floor: f64,
    },
    /// The share that is left, to this power.
    Polynomial {
        power: f64,
        floor: f64,
    },
    /// Two halves of a cosine (<https://arxiv.org/abs/1708.07120>).
    OneCycle,
}

/// Where a cycle begins and ends, as shares of its highest rate: PyTorch's.
const CYCLE: (f64, f64) = (1.0 / 25.0, 1.0 / 250_000.0);

impl Schedule {
    /// The schedule of a recipe for `epochs` epochs of `steps_per_epoch` steps.
    #[must_use]
    pub fn new(lr: f64, recipe: &ScheduleRecipe, epochs: usize, steps_per_epoch: usize) -> Self {
        let steps = |epochs: f64| (epochs * steps_per_epoch as f64).round() as u64;
        let shape = match *recipe {
            ScheduleRecipe::Constant { .. } => Shape::Constant,
            ScheduleRecipe::Step { every_epochs, gamma, .. } => {
                Shape::Step { every: steps(every_epochs).max(1), gamma }
            }
            ScheduleRecipe::MultiStep { ref at_epochs, gamma, .. } => {
                Shape::MultiStep { at: at_epochs.iter().map(|&at| steps(at)).collect(), gamma }
            }
            ScheduleRecipe::Cosine { min_lr, .. } => Shape::Cosine { floor: min_lr / lr },
            ScheduleRecipe::Polynomial { power, min_lr, .. } => {
                Shape::Polynomial { power, floor: min_lr / lr }
            }
            ScheduleRecipe::Plateau { patience_epochs, gamma, .. } => {
                Shape::Plateau { patience: patience_epochs, gamma }
            }
            ScheduleRecipe::OneCycle { .. } => Shape::OneCycle,
        };
        Self {
            lr,
            warmup_steps: steps(recipe.warmup_epochs()),
            total_steps: (epochs * steps_per_epoch) as u64,
            shape,
            steps_per_epoch: steps_per_epoch.max(1) as u64,
            pace: Pace::Step,
            step: 0,
        }
    }

    /// The same, changing the rate at this pace.
    #[must_use]
    pub fn by(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The same, of which `step` is the next step.
    #[must_use]
    pub fn from_step(&self, step: u64) -> Self {
        Self { step, ..self.clone() }
    }

    /// The same times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { lr: self.lr * factor, ..self.clone() }
    }

    /// The same for the epoch after those of `rows`: some schedules depend on what was reached.
    #[must_use]
    pub fn after(&self, rows: &[EpochRow]) -> Self {
        let Shape::Plateau { patience, gamma } = self.shape else { return self.clone() };
        let (mut best, mut waited, mut drops) = (f64::NEG_INFINITY, 0, 0);
        for row in rows {
            waited += 1;
            if row.valid_accuracy > best {
                (best, waited) = (row.valid_accuracy, 0);
            } else if waited == patience {
                (drops, waited) = (drops + 1, 0);
            }
        }
        self.scaled(gamma.powi(drops))
    }

    /// The learning rate of step `step`, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        match self.pace {
            Pace::Step => self.at_step(step),
            Pace::Epoch => {
                let first = step - step % self.steps_per_epoch;
                let last = first + self.steps_per_epoch - 1;
                self.at_step(if first < self.warmup_steps { last.min(self.warmup_steps - 1) } else { first })
            }
        }
    }

    fn at_step(&self, step: u64) -> f64 {
        // 0 to 1 along half a cosine.
        let turn = |share: f64| 0.5 * (1.0 - (std::f64::consts::PI * share.min(1.0)).cos());
        if let Shape::OneCycle = self.shape {
            // The last step of the rise has the highest rate, the last step of all the lowest.
            let (first, last) = CYCLE;
            let peak = self.warmup_steps.saturating_sub(1);
            let fall = self.total_steps.saturating_sub(peak + 1).max(1);
            let share = match step.checked_sub(peak) {
                Some(after) => 1.0 + (last - 1.0) * turn(after as f64 / fall as f64),
                None => first + (1.0 - first) * turn(step as f64 / peak as f64),
            };
            return self.lr * share;
        }
        let Some(after) = step.checked_sub(self.warmup_steps) else {
            return self.lr * (step + 1) as f64 / self.warmup_steps as f64;
        };
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let done = (after as f64 / length as f64).min(1.0);
        // `left` goes from 1 to 0, the rate from the highest to its floor, a share of that.
        let down_to = |floor: f64, left: f64| self.lr * (floor + (1.0 - floor) * left);
        match &self.shape {
            Shape::Constant | Shape::Plateau { .. } | Shape::OneCycle => self.lr,
            Shape::Step { every, gamma } => self.lr * gamma.powf((after / every) as f64),
            Shape::MultiStep { at, gamma } => {
                self.lr * gamma.powi(at.iter().filter(|&&at| at <= step).count() as i32)
            }
            Shape::Cosine { floor } => down_to(*floor, 1.0 - turn(done)),
            Shape::Polynomial { power, floor } => down_to(*floor, (1.0 - done).powf(*power)),
        }
    }
}

impl LrScheduler for Schedule {
    fn step(&mut self) -> f64 {
        let lr = self.at(self.step);
        self.step += 1;
        lr
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar("step") {
            self.step = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(recipe: &ScheduleRecipe, epochs: usize, steps: usize) -> Vec<f64> {
        let mut schedule = Schedule::new(0.1, recipe, epochs, steps);
        (0..epochs * steps).map(|_| (LrScheduler::step(&mut schedule) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn warm_up_rises_to_the_full_rate() {
        let rates = rates(&ScheduleRecipe::Constant { warmup_epochs: 1.0 }, 2, 4);
        assert_eq!(rates, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1]);
    }

    #[test]
    fn steps_multiply_by_gamma() {
        let recipe = ScheduleRecipe::Step { every_epochs: 1.0, gamma: 0.5, warmup_epochs: 0.0 };
        assert_eq!(rates(&recipe, 3, 2), [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]);
    }

    #[test]
    fn cosine_starts_full_is_half_in_the_middle_and_nears_zero() {
        let rates = rates(&ScheduleRecipe::Cosine { min_lr: 0.0, warmup_epochs: 0.0 }, 10, 10);
        assert_eq!((rates[0], rates[50]), (0.1, 0.05));
        assert!(rates[99] < 1e-4 && rates[99] > 0.0);
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
    }

    #[test]
    fn by_epoch_the_rate_stays_within_one() {
        let recipe = ScheduleRecipe::Cosine { min_lr: 0.0, warmup_epochs: 2.0 };
        let schedule = Schedule::new(0.1, &recipe, 4, 3).by(Pace::Epoch);
        let rates: Vec<f64> = (0..12).map(|step| (schedule.at(step) * 1e6).round() / 1e6).collect();
        assert_eq!(rates, [0.05, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05]);
    }

    #[test]
    fn drops_come_at_their_epochs_whatever_the_warm_up() {
        let recipe = ScheduleRecipe::MultiStep { at_epochs: vec![1.0, 2.5], gamma: 0.5, warmup_epochs: 0.5 };
        assert_eq!(rates(&recipe, 3, 2), [0.1, 0.1, 0.05, 0.05, 0.05, 0.025]);
    }

    #[test]
    fn a_polynomial_falls_to_zero() {
        let line = ScheduleRecipe::Polynomial { power: 1.0, min_lr: 0.0, warmup_epochs: 0.0 };
        assert_eq!(rates(&line, 1, 4), [0.1, 0.075, 0.05, 0.025]);
        let square = ScheduleRecipe::Polynomial { power: 2.0, min_lr: 0.0, warmup_epochs: 0.0 };
        assert_eq!(rates(&square, 1, 4), [0.1, 0.05625, 0.025, 0.00625]);
    }

    #[test]
    fn the_lowest_rate_is_where_a_fall_ends() {
        // CosineAnnealingLR(T_max=4, eta_min=0.02), PyTorch 2.15.
        let cosine = ScheduleRecipe::Cosine { min_lr: 0.02, warmup_epochs: 0.0 };
        assert_eq!(rates(&cosine, 1, 4), [0.1, 0.088284, 0.06, 0.031716]);
        let line = ScheduleRecipe::Polynomial { power: 1.0, min_lr: 0.02, warmup_epochs: 0.0 };
        assert_eq!(rates(&line, 1, 4), [0.1, 0.08, 0.06, 0.04]);
    }

    #[test]
    fn a_cycle_is_pytorchs() {
        // OneCycleLR(max_lr=0.1, total_steps=20, pct_start=0.3), PyTorch 2.15.
        let expected = [
            0.004, 0.013167, 0.037167, 0.066833, 0.090833, 0.1, 0.098746, 0.095048, 0.089092, 0.081175,
            0.071694, 0.061126, 0.05, 0.038874, 0.028306, 0.018826, 0.010909, 0.004952, 0.001254, 0.0,
        ];
        assert_eq!(rates(&ScheduleRecipe::OneCycle { warmup_epochs: 1.5 }, 5, 4), expected);
    }

    #[test]
    fn a_plateau_drops_after_epochs_without_a_better_accuracy() {
        let recipe = ScheduleRecipe::Plateau { patience_epochs: 2, gamma: 0.5, warmup_epochs: 0.5 };
        let schedule = Schedule::new(0.1, &recipe, 9, 4);
        let accuracies = [0.5, 0.6, 0.6, 0.55, 0.6, 0.7, 0.1, 0.2];
        let rows = accuracies.map(|valid_accuracy| EpochRow { valid_accuracy, ..EpochRow::default() });
        let rates: Vec<f64> = (0..=8).map(|epochs| schedule.after(&rows[..epochs]).at(8)).collect();
        assert_eq!(rates, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025]);
        assert_eq!(schedule.after(&rows[..4]).at(0), 0.025);
    }

    #[test]
    fn a_record_continues_where_it_was_taken() {
        let mut first = Schedule::new(0.1, &ScheduleRecipe::Cosine { min_lr: 0.0, warmup_epochs: 0.0 }, 4, 5);
        for _ in 0..7 {
            LrScheduler::step(&mut first);
        }
        let mut second =
            Schedule::new(0.1, &ScheduleRecipe::Cosine { min_lr: 0.0, warmup_epochs: 0.0 }, 4, 5);
        second.load_record(first.to_record());
        assert_eq!(LrScheduler::step(&mut first), LrScheduler::step(&mut second));
    }
}
