//! The plot: CPU time of an operation, as a multiple of the floor's (or, where there is no floor, of the least).

use std::fmt::Write;

use crate::contenders::Role;
use crate::format::number;
use crate::results::{OfContender, OfWorkload, Results};

const LABEL: f64 = 150.0;
const BARS: f64 = 560.0;
const BAR: f64 = 11.0;
const GAP: f64 = 16.0;
const TOP: f64 = 70.0;
/// Longer bars are cut there, and say so: those beside them would be too short to compare.
const MULTIPLE_MAX: f64 = 8.0;

const FLOOR: &str = "#9aa0a6";
const OURS: [&str; 3] = ["#d62728", "#f28e8e", "#8c1b1c"];
const RIVALS: [&str; 7] = ["#1f77b4", "#7fb3d9", "#2ca02c", "#9467bd", "#8c564b", "#e0a030", "#17a2a2"];

pub(crate) fn plot(results: &Results) -> String {
    let names: Vec<&str> = results.conditions.contenders.iter().map(|(name, _)| name.as_str()).collect();
    let rows: usize = results.workloads.iter().map(|workload| workload.contenders.len()).sum();
    let height = TOP + rows as f64 * BAR + results.workloads.len() as f64 * GAP + 20.0;
    let width = LABEL + BARS + 90.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">Client CPU time of an operation, as a multiple \
         of the floor (of the least, where there is no floor)</text>\n"
    );
    let mut put = |line: std::fmt::Arguments<'_>| svg.write_fmt(line).expect("a String takes everything");
    let mut x = 10.0;
    let mut y = 40.0;
    for name in names.iter().filter(|name| results.workloads.iter().any(|of| of.get(name).is_some())) {
        let color = color(results, name);
        put(format_args!(
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\n",
            y - 9.0
        ));
        put(format_args!("<text x=\"{}\" y=\"{y}\">{name}</text>\n", x + 14.0));
        x += 30.0 + 6.2 * name.len() as f64;
        if x > width - 120.0 {
            x = 10.0;
            y += 16.0;
        }
    }
    for multiple in 1..=MULTIPLE_MAX as usize {
        let x = LABEL + BARS * multiple as f64 / MULTIPLE_MAX;
        let bottom = height - 12.0;
        put(format_args!(
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{x}\" y=\"{}\" fill=\"#666666\" text-anchor=\"middle\">{multiple}</text>\n",
            height - 2.0
        ));
    }
    let mut y = TOP + 6.0;
    for workload in &results.workloads {
        let Some(one) = yardstick(workload) else { continue };
        let middle = y + workload.contenders.len() as f64 * BAR / 2.0 + 4.0;
        put(format_args!(
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\n",
            LABEL - 8.0,
            workload.name
        ));
        for of in &workload.contenders {
            let multiple = of.cpu().min / one;
            let length = BARS * multiple.min(MULTIPLE_MAX) / MULTIPLE_MAX;
            let cut = if multiple > MULTIPLE_MAX { format!(" ({multiple:.0}x)") } else { String::new() };
            put(format_args!(
                "<rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{}\" fill=\"{}\">\
                 <title>{}: {} µs</title></rect>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" fill=\"#333333\">{} µs{cut}</text>\n",
                BAR - 1.5,
                color(results, of.name),
                of.name,
                number(of.cpu().min),
                LABEL + length + 4.0,
                y + BAR - 3.0,
                number(of.cpu().min),
            ));
            y += BAR;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

/// What one is.
fn yardstick(workload: &OfWorkload) -> Option<f64> {
    let least = || workload.contenders.iter().map(|of| of.cpu().min).min_by(f64::total_cmp);
    workload.floor().map(|floor| floor.cpu().min).or_else(least)
}

/// The same for a contender in every workload.
fn color(results: &Results, name: &str) -> &'static str {
    let of = |name: &str| {
        results.workloads.iter().find_map(|workload| workload.get(name)).map(|of: &OfContender| of.role)
    };
    let Some(role) = of(name) else { return FLOOR };
    let alike = results.conditions.contenders.iter().filter(|(other, _)| of(other) == Some(role));
    let at = alike.map(|(other, _)| other).position(|other| other == name).unwrap_or(0);
    match role {
        Role::Floor => FLOOR,
        Role::Ours => OURS[at % OURS.len()],
        Role::Rival => RIVALS[at % RIVALS.len()],
    }
}
