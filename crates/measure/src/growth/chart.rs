//! The chart of the rows, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::Row;

const SIZE: (u32, u32) = (960, 540);

/// Writes the chart: the number of records against the time, both on a logarithmic scale.
pub fn write(file: &Path, records: &[usize], rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let times = || rows.iter().flat_map(|row| &row.micros).copied();
    let (low, high) = (times().fold(f64::MAX, f64::min), times().fold(1.0, f64::max));
    let (first, last) = (records.first().copied(), records.last().copied());
    let (first, last) = (first.unwrap_or(1) as f64, last.unwrap_or(1) as f64);

    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(48)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((first..last).log_scale(), (low / 2.0..high * 20.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("records in the table")
        .y_desc("microseconds")
        .x_label_formatter(&|records| format!("{records:.0}"))
        .y_label_formatter(&|micros| format!("{micros:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (n, row) in rows.iter().enumerate() {
        let color = Palette99::pick(n).to_rgba();
        let points = || records.iter().map(|n| *n as f64).zip(row.micros.iter().copied());
        chart
            .draw_series(LineSeries::new(points(), color.stroke_width(2)).point_size(3))?
            .label(row.name.replace('`', ""))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_names_every_row_and_number() {
        let rows = [
            ("`GET /a`", [10.0, 20.0]),
            ("`b --all`, one record", [1_000.0, 900.0]),
        ];
        let rows = rows.map(|(name, micros)| Row {
            name,
            micros: micros.to_vec(),
            is_request: true,
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chart.svg");
        write(&file, &[1_000, 100_000], &rows).expect("a chart");
        let chart = std::fs::read_to_string(&file).expect("a file");
        for text in ["GET /a", "b --all, one record", "1000", "100000", "microseconds"] {
            assert!(chart.lines().any(|line| line.trim() == text), "{text}");
        }
    }
}
