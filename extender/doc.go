// Package extender tells kube-scheduler which nodes are cleanest for a pod: a
// scheduler extender (k8s.io/kube-scheduler/extender/v1).
//
// # Points
//
// What counts is what a pod is expected to emit while it runs: the mean of what
// is expected of the node's grid location over the pod's duration, by the same
// prediction that its start was planned with, times the node's power factor
// ([v1alpha1.PowerFactorKey]), or below zero, where taking more power is no merit,
// divided by it.
// POST /prioritize answers with 10 points for the cleanest candidate and 0 for
// the dirtiest, in proportion between them. If all are within a tenth of the
// dirtiest there are less points to give, one for each hundredth, so that a
// difference that does not matter does not outweigh what does. A node at no
// location of the policy, or at one of which nothing is expected, gets none:
// what nobody knows is never preferred. Where nothing is known at all, and for
// a pod whose policy is gone, all nodes have the same points; that is no error.
//
// A pod that is meant for one location gets there if it can: its nodes have 8 to
// 10 points, the others at most 4, the cleanest of them first. A pod is meant
// for the location that it asks for, or, under a policy with ceilings, for the
// one that was planned for it: there may be no room at the cleanest, which the
// forecast does not tell. Without ceilings, the forecast at the moment of
// scheduling decides.
//
// A pod that was released with a preferred node affinity for a location is sent
// the same way by both. That location was chosen by the same intensities, times
// the least power factor of its nodes (see package gating), which is that of the
// cleanest node here. When such nodes are full, the points outweigh the preference
// for the others of their location, if these are much dirtier than those elsewhere:
// at the weight in our configuration it counts for four points.
//
// Points only prefer. The scheduler multiplies them by ten times the weight in
// its configuration and adds them to what its plugins say of nodes that fit; of
// a large cluster it looks at some of the nodes only (percentageOfNodesToScore).
//
// # Strict placement
//
// A pod that asks for gridlatch.dev/placement: strict is kept off nodes whose
// location is in a dirtier bucket of its policy than that of the cleanest
// candidate, by POST /filter: buckets are of grids, whatever the nodes take. For a
// pod that is meant for one location, it is the bucket of that.
// Candidates are the nodes on which it fits otherwise: one location is always
// left, and strict work spills over like any other when the cleanest is full,
// instead of waiting for what an autoscaler would never make, since that does not
// ask extenders. Past its latest start, and under a policy without buckets,
// nothing is dropped. Nodes of which nothing is known are kept.
// The reasons go into FailedAndUnresolvableNodes, since evicting pods makes no
// node cleaner; `kubectl describe pod` shows them if no node is left in the end,
// as when another extender drops the rest.
//
// # Only our pods pay
//
// kube-scheduler asks an extender about every pod, unless its configuration has
// managedResources: then only about pods with a container that has one of these
// extended resources among its requests or limits, whatever the quantity. So the
// webhook adds to the first container of delay-tolerant pods a request, and the
// equal limit that extended resources need, of
//
//	gridlatch.dev/placement: "0"
//
// and, where placement is strict, of gridlatch.dev/strict-placement: only such
// pods make the second hop, to /filter.
//
// The quantity zero is what makes this harmless; each of these was looked up in
// the sources of Kubernetes 1.36 or of the program in question:
//
//   - The scheduler's own NodeResourcesFit skips zero requests, in any profile
//     and in a second scheduler, whether or not it has ignoredByScheduler, which
//     our configuration sets as well. So do the kubelet's admission, and dynamic
//     resource allocation for extended resources.
//   - Cluster Autoscaler simulates with the same plugin, and Karpenter compares
//     with what a node has, which is no less than zero: both scale up. With a
//     quantity of one, which no node offers, neither ever would, since they do
//     not know of ignoredByScheduler. The same holds for a second scheduler.
//   - A ResourceQuota counts it only if it names it, as zero. A LimitRange has
//     nothing to say on it: its defaults and bounds are by resource. The QoS
//     class, the kubelet's cgroups and the VerticalPodAutoscaler look at cpu and
//     memory.
//   - `kubectl describe pod` shows gridlatch.dev/placement: 0 under Limits and
//     Requests, which says what it is for; a node's description does not change.
//   - Kueue before the end of 2025 does not admit what requests zero of a
//     resource that its ClusterQueue does not cover. So nothing is added to a
//     Job's template, by which Kueue counts, nor to a pod with a queue's label:
//     pods of its Jobs get it once they have been admitted, and are created.
//   - The descheduler's nodeFit takes a node that does not name the resource for
//     one on which the pod does not fit, and so leaves the pod where it is.
//
// What else could tell our pods apart is worse. Without managedResources every
// pod of the cluster makes two requests. A schedulerName of our own sends work
// to a scheduler that has to be there, or the work never runs; here, without the
// extender or without its configuration, pods are scheduled as ever.
//
// One cost remains for all pods of a scheduler with any extender: Kubernetes
// 1.35 and later do not schedule identical pods in batches then.
//
// # Nodes
//
// Where nodes are is known from an informer of their metadata ([Nodes]), so that
// the scheduler needs to send no more than names (nodeCacheCapable: true). Whole
// nodes are understood, too. Of the pod, only its name, annotations and creation
// are read.
package extender
