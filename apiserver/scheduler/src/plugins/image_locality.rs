//! Nodes that have a pod's images are better, the more so the larger the images are and the more nodes have them.
//! Follows `plugins/imagelocality/image_locality.go`.

use crate::{
    framework::{BEST, ClusterEvent, Plugin, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct ImageLocality;

const MIB: i64 = 1024 * 1024;
/// Images that are smaller than this altogether do not count.
const LEAST: i64 = 23 * MIB;
/// More than this a container counts no more.
const MOST: i64 = 1000 * MIB;

/// A name without a tag means the latest.
fn full_name(name: &str) -> String {
    if name.rfind(':') <= name.rfind('/') {
        format!("{name}:latest")
    } else {
        name.to_string()
    }
}

fn images(pod: &PodInfo) -> impl Iterator<Item = &str> {
    let mounted = pod
        .volumes()
        .filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    pod.containers()
        .filter_map(|container| container.image.as_deref())
        .chain(mounted)
}

impl Plugin<State> for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, view: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let nodes = view.cache.len().max(1) as f64;
        let scaled = |image: &str| {
            let name = full_name(image);
            let size = node.images.get(&name).copied()?;
            Some((size as f64 * (view.cache.nodes_with(&name) as f64 / nodes)) as i64)
        };
        let sum: i64 = if node.images.is_empty() {
            0
        } else {
            images(pod).filter_map(scaled).fold(0, i64::saturating_add)
        };
        let most = MOST * pod.containers().count() as i64;
        if most <= LEAST {
            return 0;
        }
        BEST * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }

    fn hopes(&self, _: &PodInfo, _: &ClusterEvent) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn names() {
        for (name, wanted) in [
            ("a", "a:latest"),
            ("a:1", "a:1"),
            ("r:5000/a", "r:5000/a:latest"),
            ("r:5000/a:2", "r:5000/a:2"),
        ] {
            assert_eq!(full_name(name), wanted);
        }
    }

    #[test]
    fn larger_and_more_spread_images_count_more() {
        let mut world = World::default();
        let image = |name: &str, mib: i64| json!({"names": [name], "sizeBytes": mib * MIB});
        world.node(
            "a",
            json!({"status": {"images": [image("big:latest", 523), image("small:1", 10)]}}),
        );
        world.node(
            "b",
            json!({"status": {"images": [image("big:latest", 523)]}}),
        );
        world.node("c", json!({"status": {"images": [image("rare:1", 523)]}}));
        world.node("d", json!({}));
        let score = |image: &str, node: &str| {
            let pod = pod(
                "p",
                json!({"spec": {"containers": [{"name": "c", "image": image}]}}),
            );
            ImageLocality.score(
                world.view(),
                &State::default(),
                &pod,
                world.cache.get(node).unwrap(),
            )
        };
        // half of the nodes have it: (261.5 - 23) / 977
        assert_eq!(
            [score("big", "a"), score("big", "b"), score("big", "c")],
            [24, 24, 0]
        );
        assert_eq!(
            [
                score("rare:1", "c"),
                score("small:1", "a"),
                score("big", "d")
            ],
            [11, 0, 0]
        );
    }
}
