// Package nodegroup tells Cluster Autoscaler which node groups come first, by how clean the electricity is.
//
// A CarbonPolicy with spec.clusterAutoscaler names node groups by patterns, and the location and the power
// factor of each. The expander "priority" of Cluster Autoscaler takes its order from the ConfigMap
// cluster-autoscaler-priority-expander. This package writes the key "priorities" of this ConfigMap, and
// nothing else. No node is added, drained or removed because of that.
//
// # The order
//
// The patterns are ranked by the intensity at their location now, times their power factor, as package
// nodepool ranks pools. Patterns that emit the same share a priority, and Cluster Autoscaler chooses among
// them. The first priority is 100. The pattern .* has the last one, 1: otherwise Cluster Autoscaler would
// never choose a node group that the policy does not name while it can choose another one.
//
// The owner's own priorities are not in the order. Nobody knows how they compare with ours, and a pattern of
// the owner's above ours could leave ours without effect.
//
// # When
//
// The order changes at most once in each --nodepool-interval, and two places keep their order until the
// second one is cleaner by more than the hysteresis. A changed policy is acted on at once.
//
// # The owner's word
//
// Package override tells how the key is changed, remembered and given back. The owner's priorities are back
// while a location or its intensity is not known, while carbon does not count, and while the policy has the
// mode Audit. With the expander "priority" and without priorities, Cluster Autoscaler adds no node at all. So
// where the owner has none, the order is the pattern .* alone until the policy names no node groups any more.
//
// A ConfigMap that does not exist is made once there is an order. It is deleted when it is given back, unless
// somebody has written to it. If somebody else deletes it, it is not made again for an hour.
//
// A ConfigMap that is immutable has no order, and neither has one whose priorities are too long for the
// annotation that would remember them.
//
// # Two policies
//
// If several policies name one namespace, the first one by name counts. The condition Ready of the others
// says so.
//
// # Without rights
//
// Without the rights in manifests/components/cluster-autoscaler, this package sleeps.
package nodegroup
