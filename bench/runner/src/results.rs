//! All runs, and the figures made of them.

use measure::{Report, Workload};
use serde::Serialize;

use crate::conditions::Conditions;
use crate::contenders::{Contender, Role};

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) conditions: Conditions,
    pub(crate) workloads: Vec<OfWorkload>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfWorkload {
    pub(crate) name: String,
    pub(crate) contenders: Vec<OfContender>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfContender {
    pub(crate) name: &'static str,
    #[serde(skip)]
    pub(crate) role: Role,
    pub(crate) runs: Vec<Report>,
}

impl Results {
    pub(crate) fn new(conditions: Conditions) -> Results {
        Results { conditions, workloads: Vec::new() }
    }

    pub(crate) fn add(&mut self, workload: &Workload, contender: &Contender, report: Report) {
        let at = self.workloads.iter().position(|of| of.name == workload.name).unwrap_or_else(|| {
            self.workloads.push(OfWorkload { name: workload.name.clone(), contenders: Vec::new() });
            self.workloads.len() - 1
        });
        let contenders = &mut self.workloads[at].contenders;
        match contenders.iter_mut().find(|of| of.name == contender.name) {
            Some(of) => of.runs.push(report),
            None => {
                contenders.push(OfContender {
                    name: contender.name,
                    role: contender.role,
                    runs: vec![report],
                });
            }
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names are JSON") + "\n"
    }
}

impl OfWorkload {
    pub(crate) fn get(&self, name: &str) -> Option<&OfContender> {
        self.contenders.iter().find(|of| of.name == name)
    }

    pub(crate) fn floor(&self) -> Option<&OfContender> {
        self.contenders.iter().find(|of| of.role == Role::Floor)
    }

    /// The rival that takes the least CPU time.
    pub(crate) fn best_rival(&self) -> Option<&OfContender> {
        let rivals = self.contenders.iter().filter(|of| of.role == Role::Rival);
        rivals.min_by(|a, b| a.cpu().min.total_cmp(&b.cpu().min))
    }
}

/// Over the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl OfContender {
    fn figure(&self, of: impl Fn(&Report) -> f64) -> Figure {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Figure { min: values[0], median: (low + high) / 2.0, max: values[values.len() - 1] }
    }

    fn each(&self, of: impl Fn(&Report) -> u64) -> Figure {
        self.figure(|report| of(report) as f64 / report.ops as f64)
    }

    /// CPU time of an operation, in microseconds.
    pub(crate) fn cpu(&self) -> Figure {
        self.each(|report| report.user_us + report.system_us)
    }

    /// Time of an operation on the clock, in microseconds, divided by what is in flight.
    pub(crate) fn wall(&self) -> Figure {
        self.each(|report| report.wall_us)
    }

    pub(crate) fn ops_a_second(&self) -> Figure {
        self.figure(|report| report.ops as f64 * 1e6 / report.wall_us.max(1) as f64)
    }

    pub(crate) fn sleeps(&self) -> Figure {
        self.each(|report| report.sleeps)
    }

    pub(crate) fn allocations(&self) -> Figure {
        self.each(|report| report.allocations)
    }

    pub(crate) fn allocated_bytes(&self) -> Figure {
        self.each(|report| report.allocated_bytes)
    }

    pub(crate) fn memory_peak_mib(&self) -> Figure {
        self.figure(|report| report.memory_peak_kib as f64 / 1_024.0)
    }
}
