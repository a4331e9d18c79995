//! `cargo xtask bench`: boot time, size and memory of our image beside a bare C floor and the peers, on the same disk,
//! in one run. The method is that of docs/BENCHMARKS.md, which this command writes.

mod course;
mod images;
mod machine;
mod report;

use std::path::Path;

use course::Course;
use machine::{Mode, Track};
use tests_qemu::bed::Bed;
use tests_qemu::image::UnderTest;
use tests_qemu::kernel::Series;

use crate::Failure;

/// One image to be measured.
pub struct Contestant {
    /// Row title.
    pub name: &'static str,
    /// The image, with the settling wrapper in front.
    pub image: std::path::PathBuf,
    /// Size in bytes without the wrapper.
    pub bytes: u64,
}

/// What was measured of one image.
pub struct Row {
    /// Row title.
    pub name: &'static str,
    /// Size of the image in bytes.
    pub bytes: u64,
    /// Seconds of instruction time, unpacking: one figure a run.
    pub unpack: Vec<f64>,
    /// Seconds of instruction time from /init to the real init: one figure a run.
    pub init: Vec<f64>,
    /// Seconds of wall time from /init to the real init on two CPUs: one figure a run.
    pub wall: Vec<f64>,
    /// Modules in the kernel when the real init began.
    pub modules: usize,
    /// `MemFree` in the real root, KiB.
    pub free_kib: u64,
    /// Least memory with which it boots, MiB; `None` when it was not searched.
    pub least_mib: Option<u64>,
}

/// Runs of each kind; `--runs N` changes it.
const RUNS: usize = 3;

/// Prepares everything, measures, prints the table and writes docs/BENCHMARKS.md.
pub fn bench(arguments: &[&str]) -> Result<(), Failure> {
    let (mut runs, mut filters, mut words) = (RUNS, Vec::new(), arguments.iter());
    while let Some(word) = words.next() {
        match *word {
            "--runs" => {
                runs = words.next().and_then(|count| count.parse().ok()).ok_or("--runs needs a number")?;
            }
            option if option.starts_with('-') => {
                return Err(Failure(format!(
                    "bench does not understand {option}; it takes --runs N and NAMEs"
                )));
            }
            name => filters.push(name),
        }
    }
    crate::host::for_native()?;
    crate::host::for_test_bed()?;
    crate::host::for_bench()?;
    let built = crate::artifacts::build(false)?;
    let scratch = crate::root().join("target/bench");
    std::fs::create_dir_all(&scratch)?;
    let under_test = UnderTest { rootward: built.rootward.clone(), init: built.init.clone() };
    let bed = Bed::prepare(&crate::root(), under_test, &scratch)?;
    let mut results = Vec::new();
    for course in Course::ALL {
        let rows = drive(course, &bed, &scratch, runs, &filters)?;
        println!("{}", report::table(course, &rows));
        results.push((course, rows));
    }
    if filters.is_empty() {
        let kernel = &bed.kernel(Series::V6_12)?.version;
        report::write(&results, kernel, runs, Path::new(&crate::root().join("docs/BENCHMARKS.md")))?;
    }
    report::judge(&results)
}

/// Measures every contestant of a course.
fn drive(
    course: Course,
    bed: &Bed,
    scratch: &Path,
    runs: usize,
    filters: &[&str],
) -> Result<Vec<Row>, Failure> {
    // Only the names are known before the images are made; a course that nobody asked for costs nothing.
    if !filters.is_empty() && !filters.iter().any(|filter| filter.starts_with(course.name())) {
        return Ok(Vec::new());
    }
    let (disks, dump) = course.disks(bed, scratch)?;
    let contestants = images::contestants(course, &dump, bed, scratch, filters)?;
    let kernel = &bed.kernel(Series::V6_12)?.vmlinuz;
    let track = Track { kernel, disks: &disks, cmdline: &course.cmdline() };
    let mut rows: Vec<Row> = contestants.iter().map(Row::new).collect();
    // Interleaved, so that a change in the host's speed meets every contestant.
    for run in 0..runs {
        for (contestant, row) in contestants.iter().zip(&mut rows) {
            let counted = machine::run(contestant, &track, Mode::Instructions, 512)?;
            let timed = machine::run(contestant, &track, Mode::Wall, 512)?;
            println!(
                "run {}: {}, {:<24} {:.3} + {:.3} instruction seconds, {:.2} s wall",
                run + 1,
                course.name(),
                row.name,
                counted.init,
                counted.unpack,
                timed.init
            );
            row.unpack.push(counted.unpack);
            row.init.push(counted.init);
            row.wall.push(timed.init);
            row.modules = counted.modules;
            row.free_kib = counted.free_kib;
        }
    }
    // A search of half a dozen boots each: only for what has a budget.
    let budgeted = |name: &str| name == "floor" || name.starts_with("rootward");
    if course == Course::Plain {
        for (contestant, row) in contestants.iter().zip(&mut rows).filter(|(_, row)| budgeted(row.name)) {
            row.least_mib = machine::least_memory(contestant, &track)?;
        }
    }
    Ok(rows)
}

impl Row {
    fn new(contestant: &Contestant) -> Row {
        Row {
            name: contestant.name,
            bytes: contestant.bytes,
            unpack: Vec::new(),
            init: Vec::new(),
            wall: Vec::new(),
            modules: 0,
            free_kib: 0,
            least_mib: None,
        }
    }

    /// Median instruction time of both phases together.
    pub fn total(&self) -> f64 {
        let sums: Vec<f64> = self.init.iter().zip(&self.unpack).map(|(init, unpack)| init + unpack).collect();
        median(&sums)
    }
}

/// The middle of the figures; of an even number the lower one of the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
