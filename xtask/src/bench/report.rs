//! The table, docs/BENCHMARKS.md, and the budgets.

use std::fmt::Write;
use std::path::Path;

use super::course::Course;
use super::{Row, median};
use crate::Failure;

fn row<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

/// The table in Markdown.
pub fn table(course: Course, rows: &[Row]) -> String {
    let floor = row(rows, "floor").map_or(f64::NAN, Row::total);
    let floor_wall = row(rows, "floor").map_or(f64::NAN, |floor| median(&floor.wall));
    let floor_free = row(rows, "floor").map_or(0, |floor| floor.free_kib);
    let mut text = format!("## {}\n\nCommand line: `{}`.\n\n", course.title(), course.cmdline());
    text += "| image | T_init | T_unpack | T / floor | wall | wall / floor | MiB | modules | least RAM, MiB | free after, KiB against floor |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        let least = row.least_mib.map_or_else(|| "-".to_owned(), |mib| mib.to_string());
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.3} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {least} | {:+} |",
            row.name,
            median(&row.init),
            median(&row.unpack),
            row.total() / floor,
            median(&row.wall),
            median(&row.wall) / floor_wall,
            row.bytes as f64 / f64::from(1 << 20),
            row.modules,
            i128::from(row.free_kib) - i128::from(floor_free),
        );
    }
    text
}

/// Writes docs/BENCHMARKS.md.
pub fn write(results: &[(Course, Vec<Row>)], kernel: &str, runs: usize, path: &Path) -> Result<(), Failure> {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; not edited by hand. Seconds are instruction time unless they are \
         wall time.\n\n",
    );
    let _ = writeln!(text, "Kernel {kernel}.\n");
    for (course, rows) in results {
        text += &table(*course, rows);
        text.push('\n');
    }
    let _ = write!(
        text,
        "## Method\n\n\
         - Medians of {runs} runs, contestants interleaved, all on the same disk and kernel in one run of the command.\n\
         - Instruction time: QEMU TCG, `-icount shift=0,sleep=on -smp 1 -cpu max,-erms,-fsrm`: one guest instruction is 1 ns.\n\
         - T_unpack: kernel log from \"Trying to unpack rootfs image\" to \"Freeing initrd memory\" with `initramfs_async=0`.\n\
         - T_init: from just before `/init` is executed (after four seconds in which the kernel's own work ends) to the first \
         instruction of the real init, a static program that reads CLOCK_BOOTTIME before anything else and ties that clock \
         to the kernel log's.\n\
         - Wall: MTTCG on two CPUs, T_init alone.\n\
         - The floor is a static C program with modules and device compiled in; its modules are stored uncompressed in a \
         zstd archive. It is told the nodes, dm tables and \
         members, derives the key of the LUKS2 container, and decrypts no key area; everybody else gets the command line.\n\
         - Least RAM: smallest of the sizes in steps of 8 MiB that reaches the real init.\n\
         - The peers' images are made by Debian 13's own packages inside a Debian 13 tree.\n\n## Every run\n\n"
    );
    for (course, row) in results.iter().flat_map(|(course, rows)| rows.iter().map(move |row| (course, row))) {
        let list =
            |figures: &[f64]| figures.iter().map(|one| format!("{one:.3}")).collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            text,
            "- {}, {}: T_init {}; T_unpack {}; wall {}",
            course.name(),
            row.name,
            list(&row.init),
            list(&row.unpack),
            list(&row.wall)
        );
    }
    Ok(std::fs::write(path, text)?)
}

/// Fails when a budget is broken.
pub fn judge(results: &[(Course, Vec<Row>)]) -> Result<(), Failure> {
    let mut broken = Vec::new();
    for (course, rows) in results {
        let Some(floor) = row(rows, "floor").map(Row::total) else { continue };
        let (host_only, universal) = course.budgets();
        for (name, ratio, mebibytes, memory) in
            [("rootward, host-only", host_only, 2.0, 96), ("rootward, universal", universal, 20.0, 128)]
        {
            let Some(ours) = row(rows, name) else { continue };
            let mut breaks = |what: String| broken.push(format!("{}, {name}: {what}", course.name()));
            if ours.total() > ratio * floor {
                breaks(format!("T is {:.2} times the floor's, budget {ratio}", ours.total() / floor));
            }
            let size = ours.bytes as f64 / f64::from(1 << 20);
            if *course == Course::Plain && size > mebibytes {
                breaks(format!("{size:.2} MiB, budget {mebibytes}"));
            }
            if *course == Course::Plain && ours.least_mib.is_none_or(|least| least > memory) {
                breaks(format!("boots with {:?} MiB, budget {memory}", ours.least_mib));
            }
            for peer in rows.iter().filter(|row| !row.name.starts_with("rootward") && row.name != "floor") {
                if ours.total() >= peer.total() {
                    breaks(format!("not faster than {}", peer.name));
                }
            }
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!("budgets broken:\n  {}", broken.join("\n  "))))
    }
}
