//! Lays text out in columns that tabs separate.
//! Invariant: a column is as wide as its widest cell in one unbroken block of lines; what follows a line's last tab never widens anything.
//! Behaviour follows Go's `text/tabwriter` and `github.com/liggitt/tabwriter` (remembered widths).

/// Collects lines and lays them out.
pub struct TabWriter {
    min_width: usize,
    padding: usize,
    buffer: String,
    remembered: Option<Vec<usize>>,
}

impl TabWriter {
    /// As tables are printed: at least 6 wide, 3 apart; widths of one flush are kept for the next.
    pub fn table() -> Self {
        TabWriter {
            min_width: 6,
            padding: 3,
            buffer: String::new(),
            remembered: Some(Vec::new()),
        }
    }
    /// With these measures, and nothing remembered.
    pub fn new(min_width: usize, padding: usize) -> Self {
        TabWriter {
            min_width,
            padding,
            buffer: String::new(),
            remembered: None,
        }
    }
    pub fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
    }
    /// Forgets the widths of earlier tables.
    pub fn forget(&mut self) {
        if let Some(widths) = &mut self.remembered {
            widths.clear();
        }
    }
    /// The collected lines, laid out.
    pub fn flush(&mut self) -> String {
        let text = std::mem::take(&mut self.buffer);
        let ends = text.ends_with('\n');
        let body = if ends { &text[..text.len() - 1] } else { &text };
        if text.is_empty() {
            return String::new();
        }
        let lines: Vec<Vec<&str>> = body.split('\n').map(|l| l.split('\t').collect()).collect();
        let mut layout = Layout {
            lines: &lines,
            min_width: self.min_width,
            padding: self.padding,
            widths: Vec::new(),
            out: String::new(),
            remembered: self.remembered.take(),
        };
        layout.format(0, lines.len());
        self.remembered = layout.remembered.take();
        let mut out = layout.out;
        if !ends {
            out.pop();
        }
        out
    }
}

/// What gaps are filled with.
const BLANK: &str = "                                                                ";

struct Layout<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
    remembered: Option<Vec<usize>>,
}

impl Layout<'_> {
    fn format(&mut self, mut start: usize, end: usize) {
        let column = self.widths.len();
        let mut this = start;
        while this < end {
            if column + 1 >= self.lines[this].len() {
                this += 1;
                continue;
            }
            self.write(start, this);
            start = this;
            let mut width = self.min_width;
            while this < end && column + 1 < self.lines[this].len() {
                width = width.max(self.lines[this][column].chars().count() + self.padding);
                this += 1;
            }
            if let Some(kept) = &mut self.remembered {
                if kept.len() <= column {
                    kept.resize(column + 1, 0);
                }
                width = width.max(kept[column]);
                kept[column] = width;
            }
            self.widths.push(width);
            self.format(start, this);
            self.widths.pop();
            start = this;
        }
        self.write(start, end);
    }

    fn write(&mut self, start: usize, end: usize) {
        for line in &self.lines[start..end] {
            for (i, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(i).filter(|_| i + 1 < line.len()) {
                    let mut gap = width.saturating_sub(cell.chars().count());
                    while gap > 0 {
                        let blank = &BLANK[..gap.min(BLANK.len())];
                        self.out.push_str(blank);
                        gap -= blank.len();
                    }
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_in_blocks() {
        let mut w = TabWriter::table();
        w.push("NAME\tREADY\tAGE\nweb\t1/2\t5s\nmuch-longer\t0/1\t6s\n");
        assert_eq!(
            w.flush(),
            "NAME          READY   AGE\nweb           1/2     5s\nmuch-longer   0/1     6s\n"
        );
        w.push("a\tb\tc\n");
        assert_eq!(w.flush(), "a             b       c\n");
        let mut w = TabWriter::new(0, 2);
        w.push("Name:\tx\nLabels:\t<none>\nno cells\n  a:\t1\n");
        assert_eq!(
            w.flush(),
            "Name:    x\nLabels:  <none>\nno cells\n  a:  1\n"
        );
    }
}
