//! Tables, and what the product loses.

use crate::rounds::Spread;

/// Which of two numbers is the better one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

/// One column of a table: what was measured, and which way it is good.
pub struct Column {
    pub name: &'static str,
    pub better: Better,
}

impl Column {
    pub const fn less(name: &'static str) -> Column {
        Column { name, better: Better::Less }
    }

    pub const fn more(name: &'static str) -> Column {
        Column { name, better: Better::More }
    }
}

/// Prints tables as they come, and remembers the cells in which the product is worse.
#[derive(Default)]
pub struct Report {
    losses: Vec<(f64, String)>,
}

impl Report {
    /// Prints one table. The first line of `measured` is the product's; every other one shows its ratio to
    /// the product. A line is a round's values, by column.
    pub fn table<const N: usize>(
        &mut self,
        title: &str,
        columns: &[Column; N],
        names: &[&str],
        measured: &[Vec<[f64; N]>],
    ) {
        let spreads = |rounds: &Vec<[f64; N]>| -> [Spread; N] {
            std::array::from_fn(|column| Spread::of(rounds.iter().map(|round| round[column])))
        };
        print!("\n{title}\n  {:<18}", "");
        columns.iter().for_each(|column| print!("{:>34}", column.name));
        println!();
        let product = spreads(&measured[0]);
        for (line, (name, rounds)) in names.iter().zip(measured).enumerate() {
            print!("  {name:<18}");
            for ((column, ours), theirs) in columns.iter().zip(product).zip(spreads(rounds)) {
                let mut cell = cell(theirs);
                if line > 0 {
                    let ratio = match column.better {
                        _ if theirs.median == ours.median => 1.0,
                        Better::Less => theirs.median / ours.median,
                        Better::More => ours.median / theirs.median,
                    };
                    let mark = if ratio < 1.0 { '<' } else { ' ' };
                    cell = format!("{cell} x{ratio:.2}{mark}");
                    if ratio < 1.0 {
                        self.losses.push((ratio, format!("{title}: {}, by {name}", column.name)));
                    }
                } else {
                    cell.push_str("       ");
                }
                print!("{cell:>34}");
            }
            println!();
        }
    }

    /// Prints what the product lost, the worst first.
    pub fn print_losses(&mut self) {
        const SHOWN: usize = 25;
        self.losses.sort_by(|a, b| a.0.total_cmp(&b.0));
        println!("\n{} comparisons lost; the worst of them:", self.losses.len());
        for (ratio, what) in self.losses.iter().take(SHOWN) {
            println!("  x{ratio:.2}  {what}");
        }
    }
}

fn cell(Spread { median, least, most }: Spread) -> String {
    if least == most {
        return digits(median);
    }
    format!("{} ({} to {})", digits(median), digits(least), digits(most))
}

/// Three digits of a number, or all of a great one.
fn digits(value: f64) -> String {
    match value.abs() {
        great if great >= 100.0 => format!("{value:.0}"),
        some if some >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
