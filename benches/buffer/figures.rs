//! Curves over writers, over readers and over lengths of frames, as SVG.

use std::error::Error;
use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::cells::{Cell, Metric, bytes_name};
use super::peers::Kind;

const SIZE: (u32, u32) = (900, 520);
const COLOURS: [RGBColor; 9] = [
    RGBColor(214, 39, 40),
    RGBColor(31, 119, 180),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(23, 160, 170),
    RGBColor(120, 120, 120),
];

/// One figure: which cells are in it, in which order they stand along the axis, and what is written there.
struct Figure {
    file: &'static str,
    title: &'static str,
    axis: &'static str,
    shows: fn(&Cell) -> bool,
    label: fn(&Cell) -> String,
}

const FIGURES: [Figure; 6] = [
    Figure {
        file: "append-60-by-writers.svg",
        title: "append of 60 B, no reader",
        axis: "writers",
        shows: |cell| cell.metric == Metric::Append && cell.frame_bytes == 60,
        label: |cell| cell.writers.to_string(),
    },
    Figure {
        file: "append-1024-by-writers.svg",
        title: "append of 1 KiB, no reader",
        axis: "writers",
        shows: |cell| cell.metric == Metric::Append && cell.frame_bytes == 1024,
        label: |cell| cell.writers.to_string(),
    },
    Figure {
        file: "append-60-by-readers.svg",
        title: "append of 60 B by two writers beside readers",
        axis: "readers",
        shows: |cell| cell.metric == Metric::AppendBeside && cell.frame_bytes == 60,
        label: |cell| cell.readers.to_string(),
    },
    Figure {
        file: "delivery-60-by-readers.svg",
        title: "delivery of 60 B from two writers to all readers together",
        axis: "readers",
        shows: |cell| cell.metric == Metric::Delivery && cell.frame_bytes == 60,
        label: |cell| cell.readers.to_string(),
    },
    Figure {
        file: "delivery-1024-by-readers.svg",
        title: "delivery of 1 KiB from two writers to all readers together",
        axis: "readers",
        shows: |cell| cell.metric == Metric::Delivery && cell.frame_bytes == 1024,
        label: |cell| cell.readers.to_string(),
    },
    Figure {
        file: "append-by-length.svg",
        title: "append by two writers beside one reader",
        axis: "length of a frame",
        shows: |cell| cell.metric == Metric::Lengths,
        label: |cell| bytes_name(cell.frame_bytes),
    },
];

/// Draws what was measured into the directory. A figure of which there are not two points is left out.
pub fn draw(directory: &Path, cells: &[Cell]) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for figure in &FIGURES {
        let shown: Vec<&Cell> = cells.iter().filter(|cell| (figure.shows)(cell)).collect();
        if shown.len() > 1 {
            let file = directory.join(figure.file);
            let area = SVGBackend::new(&file, SIZE).into_drawing_area();
            curves(&area, figure, &shown).map_err(|error| io::Error::other(error.to_string()))?;
            println!("drawn: {}", file.display());
        }
    }
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve for each peer, thick for the product, with the spread of its rounds; both axes are logarithmic, for all that varies doubles.
fn curves(area: &Area<'_>, figure: &Figure, cells: &[&Cell]) -> Result<(), Box<dyn Error>> {
    area.fill(&WHITE)?;
    let last = (cells.len() - 1) as f64;
    let values = cells.iter().flat_map(|cell| cell.lines.iter().map(|line| line.spread));
    let (least, most) = values
        .fold((f64::MAX, 0_f64), |(least, most), spread| (least.min(spread.least), most.max(spread.most)));
    let mut chart = ChartBuilder::on(area)
        .caption(figure.title, ("sans-serif", 20))
        .margin(12)
        .margin_right(190)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.1..last + 0.1, (least * 0.8..most * 1.25).log_scale())?;
    let label = |at: &f64| {
        let near = at.round();
        let cell = cells.get(near as usize).filter(|_| (at - near).abs() < 1e-6 && near >= 0.0);
        cell.map_or_else(String::new, |cell| (figure.label)(cell))
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(cells.len())
        .x_label_formatter(&label)
        .x_desc(figure.axis)
        .y_desc(cells[0].metric.unit())
        .y_label_formatter(&|value| format!("{value:.2}"))
        .label_style(("sans-serif", 14))
        .draw()?;
    for index in 0..cells[0].lines.len() {
        let line = &cells[0].lines[index];
        let colour = COLOURS[index % COLOURS.len()];
        let width = if line.kind == Kind::Product { 4 } else { 2 };
        let points: Vec<_> =
            cells.iter().enumerate().map(|(at, cell)| (at as f64, cell.lines[index].spread)).collect();
        let medians = points.iter().map(|(at, spread)| (*at, spread.median));
        chart
            .draw_series(LineSeries::new(medians, colour.stroke_width(width)))?
            .label(line.peer)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(width)));
        let spreads = points.iter().map(|(at, spread)| {
            PathElement::new([(*at, spread.least), (*at, spread.most)], colour.stroke_width(1))
        });
        chart.draw_series(spreads)?;
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::combinators::LogCoord<f64>>,
>;

/// Beside the curves, where none of them is.
fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Result<(), Box<dyn Error>> {
    let (right, top) = (SIZE.0 as i32 - 64 - 12 - 185, 10);
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(right, top))
        .background_style(WHITE)
        .border_style(WHITE)
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
