//! The tables of `top`.
//! Invariant: each cell ends with a tab, as upstream writes them, so that lines end in the blanks that it leaves.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/metricsutil`.

use crate::print::tabwriter::TabWriter;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::quantity::{Format, Quantity};
use std::cmp::Reverse;

/// What is shown of what is used, in the order of the columns; swap where it is asked for.
const RESOURCES: [&str; 3] = ["cpu", "memory", "swap"];
const MIB: i64 = 1024 * 1024;

/// Amounts of the resources; one of which nothing is said is absent.
#[derive(Clone, Default)]
pub struct Amounts([Option<Quantity>; 3]);

impl Amounts {
    pub fn of(list: &Value) -> Self {
        Amounts(RESOURCES.map(|resource| list.text_ptr(resource)?.parse().ok()))
    }

    /// With so many bytes of swap.
    pub fn with_swap(mut self, bytes: Option<i64>) -> Self {
        self.0[2] = bytes.map(|bytes| Quantity::from_i64(bytes, Format::BinarySi));
        self
    }

    pub fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Amounts::default(), |mut sum, each| {
            sum.add(&each);
            sum
        })
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, each) in self.0.iter_mut().zip(&other.0) {
            match (sum, each) {
                (Some(sum), Some(each)) => sum.add(each),
                (sum, Some(each)) => *sum = Some(each.clone()),
                (_, None) => {}
            }
        }
    }

    fn get(&self, resource: usize) -> Quantity {
        self.0[resource].clone().unwrap_or_default()
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy)]
pub enum Order {
    Name,
    Cpu,
    Memory,
}

impl Order {
    /// By name, or the largest amount first.
    pub fn sorted<T, K: Ord>(
        self,
        mut rows: Vec<(T, Amounts)>,
        name: impl Fn(&T) -> K,
    ) -> Vec<(T, Amounts)> {
        match self {
            Order::Name => rows.sort_by_key(|(row, _)| name(row)),
            Order::Cpu => rows.sort_by_key(|(_, used)| Reverse(used.get(0).milli_value())),
            Order::Memory => rows.sort_by_key(|(_, used)| Reverse(used.get(1).value())),
        }
        rows
    }
}

pub struct Table {
    lines: TabWriter,
    resources: usize,
    headers: bool,
    /// As wide as upstream takes a table of pods to be: it counts the columns that stand before the usual ones where it prints headers.
    width: usize,
}

impl Table {
    pub fn new(swap: bool, no_headers: bool) -> Self {
        let resources = if swap { 3 } else { 2 };
        Table {
            lines: TabWriter::table(),
            resources,
            headers: !no_headers,
            width: resources + 1,
        }
    }

    pub fn text(mut self) -> String {
        self.lines.flush()
    }

    fn line<'c>(&mut self, cells: impl IntoIterator<Item = &'c str>) {
        for cell in cells {
            self.lines.push(cell);
            self.lines.push("\t");
        }
        self.lines.push("\n");
    }

    pub fn head_of_nodes(&mut self) {
        const HEADS: [&str; 7] = [
            "NAME",
            "CPU(cores)",
            "CPU(%)",
            "MEMORY(bytes)",
            "MEMORY(%)",
            "SWAP(bytes)",
            "SWAP(%)",
        ];
        if self.headers {
            self.line(HEADS.into_iter().take(1 + 2 * self.resources));
        }
    }

    pub fn head_of_pods(&mut self, namespace: bool, containers: bool) {
        if !self.headers {
            return;
        }
        let before = [("NAMESPACE", namespace), ("POD", containers)];
        let before: Vec<&str> = before
            .iter()
            .filter(|(_, is)| *is)
            .map(|(head, _)| *head)
            .collect();
        self.width += before.len();
        let usual = ["NAME", "CPU(cores)", "MEMORY(bytes)", "SWAP(bytes)"];
        let usual = usual.into_iter().take(1 + self.resources);
        self.line(before.into_iter().chain(usual));
    }

    /// A node, with what there is; whether that tells of swap.
    pub fn node(&mut self, node: &str, used: &Amounts, has: Option<(Amounts, bool)>) {
        let mut cells = vec![node.to_owned()];
        let (has, tells) = has.unwrap_or((Amounts::default(), true));
        for (resource, name) in RESOURCES.iter().enumerate().take(self.resources) {
            if *name == "swap" && !tells {
                cells.extend(["<unknown>".to_owned(), "<unknown>".to_owned()]);
                continue;
            }
            cells.push(amount(resource, used));
            if let Some(all) = &has.0[resource] {
                cells.push(share(&used.get(resource), all));
            }
        }
        self.line(cells.iter().map(String::as_str));
    }

    /// A node that is not measured.
    pub fn unknown_node(&mut self, name: &str) {
        let cells = vec!["<unknown>"; 2 * self.resources];
        self.line([name].into_iter().chain(cells));
    }

    /// A pod, or one of its containers.
    pub fn pod(&mut self, namespace: Option<&str>, names: &[&str], used: &Amounts) {
        let amounts = self.amounts(used);
        let names = namespace.into_iter().chain(names.iter().copied());
        self.line(names.chain(amounts.iter().map(String::as_str)));
    }

    fn amounts(&self, used: &Amounts) -> Vec<String> {
        (0..self.resources)
            .map(|resource| amount(resource, used))
            .collect()
    }

    pub fn sum(&mut self, all: &Amounts) {
        let rule = ["________"; 2];
        let before = vec![""; self.width - 2];
        self.line(before.into_iter().chain(rule));
        let amounts = self.amounts(all);
        // the name of none is empty
        let before = vec![""; self.width - 3 + 1];
        self.line(before.into_iter().chain(amounts.iter().map(String::as_str)));
    }
}

fn amount(resource: usize, used: &Amounts) -> String {
    let used = used.get(resource);
    match RESOURCES[resource] {
        "cpu" => format!("{}m", used.milli_value()),
        _ => format!("{}Mi", used.value() / MIB),
    }
}

fn share(used: &Quantity, all: &Quantity) -> String {
    if all.is_zero() {
        return "0%".into();
    }
    let fraction = used.milli_value() as f64 / all.milli_value() as f64 * 100.0;
    format!("{}%", fraction as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn amounts(cpu: &str, memory: &str) -> Amounts {
        Amounts::of(&json!({"cpu": cpu, "memory": memory}))
    }

    #[test]
    fn pods_and_their_sum() {
        let mut table = Table::new(false, false);
        table.head_of_pods(true, false);
        table.pod(Some("n"), &["a"], &amounts("1500001n", "3Mi"));
        table.pod(Some("n"), &["b"], &amounts("0", "1048575"));
        table.sum(&Amounts::sum(
            [amounts("1500001n", "3Mi"), amounts("0", "1048575")].into_iter(),
        ));
        let wanted = "NAMESPACE   NAME   CPU(cores)   MEMORY(bytes)   \nn           a      2m           3Mi             \nn           b      0m           0Mi             \n                   ________     ________        \n                   2m           3Mi             \n";
        assert_eq!(table.text(), wanted);
    }

    #[test]
    fn nodes() {
        let mut table = Table::new(true, false);
        table.head_of_nodes();
        table.node(
            "a",
            &amounts("250m", "1Gi"),
            Some((amounts("2", "4Gi"), false)),
        );
        table.unknown_node("b");
        let wanted = "NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)   SWAP(bytes)   SWAP(%)     \na      250m         12%         1024Mi          25%         <unknown>     <unknown>   \nb      <unknown>    <unknown>   <unknown>       <unknown>   <unknown>     <unknown>   \n";
        assert_eq!(table.text(), wanted);
    }

    #[test]
    fn orders() {
        let rows = || vec![("b", amounts("1m", "9Mi")), ("a", amounts("2m", "1Mi"))];
        let names = |order: Order| {
            order
                .sorted(rows(), |name| *name)
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            [Order::Name, Order::Cpu, Order::Memory].map(names),
            [["a", "b"], ["a", "b"], ["b", "a"]]
        );
    }
}
