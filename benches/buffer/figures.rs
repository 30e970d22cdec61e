//! Curves over writers, over readers and over lengths of frames, as SVG.

use std::error::Error;
use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::cells::{Cell, Line, Metric, bytes_name};
use super::peers::Kind;

const SIZE: (u32, u32) = (900, 520);
const LEGEND_WIDTH: u32 = 190;
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

/// A curve for each peer, thick for the product, with the spread of its rounds; both axes are logarithmic,
/// for all that varies doubles.
fn curves(area: &Area<'_>, figure: &Figure, cells: &[&Cell]) -> Result<(), Box<dyn Error>> {
    area.fill(&WHITE)?;
    let last = (cells.len() - 1) as f64;
    let values = cells.iter().flat_map(|cell| cell.lines.iter().map(|line| line.spread));
    let (least, most) = values
        .fold((f64::MAX, 0_f64), |(least, most), spread| (least.min(spread.least), most.max(spread.most)));
    let mut chart = ChartBuilder::on(area)
        .caption(figure.title, ("sans-serif", 20))
        .margin(12)
        .margin_right(LEGEND_WIDTH + 12)
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
        let style = style(index, line);
        let points: Vec<_> =
            cells.iter().enumerate().map(|(at, cell)| (at as f64, cell.lines[index].spread)).collect();
        let medians = points.iter().map(|(at, spread)| (*at, spread.median));
        chart.draw_series(LineSeries::new(medians, style))?;
        let spreads = points.iter().map(|(at, spread)| {
            PathElement::new([(*at, spread.least), (*at, spread.most)], style.stroke_width(1))
        });
        chart.draw_series(spreads)?;
    }
    legend(area, &cells[0].lines)?;
    area.present()?;
    Ok(())
}

/// Beside the curves, where none of them is.
fn legend(area: &Area<'_>, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let left = SIZE.0 as i32 - LEGEND_WIDTH as i32;
    for (index, line) in lines.iter().enumerate() {
        let (y, style) = (50 + 24 * index as i32, style(index, line));
        area.draw(&PathElement::new([(left, y), (left + 22, y)], style))?;
        area.draw(&Text::new(line.peer, (left + 30, y - 7), ("sans-serif", 13)))?;
    }
    Ok(())
}

fn style(index: usize, line: &Line) -> ShapeStyle {
    COLOURS[index % COLOURS.len()].stroke_width(if line.kind == Kind::Product { 4 } else { 2 })
}
