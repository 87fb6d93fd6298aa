//! What the command line asks for.

use std::path::PathBuf;

use measure::Workload;

use crate::contenders::{self, CONTENDERS, Contender};
use crate::workloads;

const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) client_core: usize,
    pub(crate) responder_core: usize,
    pub(crate) out: Option<PathBuf>,
    /// So many requests on one store, instead of the table.
    pub(crate) age: Option<u64>,
    narrowed: bool,
}

impl Options {
    /// `None`: help is wanted.
    pub(crate) fn from_args() -> Result<Option<Options>, String> {
        let mut options = Options {
            quick: false,
            rounds: 0,
            workloads: Vec::new(),
            contenders: CONTENDERS.iter().filter(|contender| contender.by_default).collect(),
            client_core: 0,
            responder_core: 1,
            out: None,
            age: None,
            narrowed: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => {
                    options.quick = true;
                    continue;
                }
                _ => {}
            }
            let value =
                arguments.next().ok_or_else(|| format!("{name} is unknown or needs a value (--help)"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{name}: {value} is no number"));
            match name.as_str() {
                "--rounds" => options.rounds = number()?.max(1),
                "--client-core" => options.client_core = number()?,
                "--responder-core" => options.responder_core = number()?,
                "--age" => {
                    options.age = Some(number()? as u64);
                    options.contenders.retain(|contender| contender.package == contenders::OURS);
                }
                "--out" => options.out = Some(PathBuf::from(value)),
                "--workloads" => {
                    options.narrowed = true;
                    options.workloads =
                        value.split(',').map(workload).collect::<Result<Vec<_>, _>>()?.concat();
                }
                "--contenders" => {
                    options.narrowed = true;
                    options.contenders = value.split(',').map(contender).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("{name} is unknown (--help)")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { ROUNDS_QUICK } else { ROUNDS };
        }
        if options.workloads.is_empty() {
            options.workloads = workloads::defaults(options.quick);
        }
        Ok(Some(options))
    }

    /// Whether the results are those that the README shows.
    pub(crate) fn is_whole(&self) -> bool {
        !self.quick && !self.narrowed
    }
}

/// One workload, or the several that a word such as `http` stands for.
fn workload(name: &str) -> Result<Vec<Workload>, String> {
    if let Some(group) = workloads::group(name) {
        return Ok(group);
    }
    let workload = Workload::parse(name).ok_or_else(|| format!("{name} is no workload (--help)"))?;
    Ok(vec![workload])
}

fn contender(name: &str) -> Result<&'static Contender, String> {
    if let Some((name, options)) = name.split_once(':') {
        return Ok(contenders::ours(name, options));
    }
    let known = CONTENDERS.iter().find(|contender| contender.name == name);
    known.ok_or_else(|| format!("{name} is no contender (--help)"))
}

pub(crate) fn help() -> String {
    let contenders: Vec<String> = CONTENDERS
        .iter()
        .map(|contender| {
            let mark = if contender.by_default { "" } else { " (only when named)" };
            format!("    {:<28}{}{mark}", contender.name, contender.about)
        })
        .collect();
    format!(
        "bench [OPTIONS]: measures the contenders beside each other\n\n\
         \x20 --quick               fewer operations, {ROUNDS_QUICK} rounds, no gigabytes\n\
         \x20 --rounds N            default {ROUNDS}\n\
         \x20 --workloads A,B       names such as put-4k-1, get-64k-32-tls, multipart-1g, list, sign, fs-put-4k;\n\
         \x20                       or the groups http, https, fs\n\
         \x20 --contenders A,B      default: all that are not marked\n\
         \x20 --client-core N       default 0\n\
         \x20 --responder-core N    default 1\n\
         \x20 --age N               instead of all this: N requests on one store of ours, the last beside the first\n\
         \x20 --out DIRECTORY       where table.md, results.json and plot.svg go; default `results` beside the\n\
         \x20                       manifest for a whole run, and below the target directory for others\n\n\
         contenders\n{}\n\n\
         Ours with other options of [system.storage.object], which semicolons part, under a name of your choice:\n\
         \x20 --contenders 'floor,patient:transport = \"direct\"; attempts_max = 9'\n",
        contenders.join("\n")
    )
}
