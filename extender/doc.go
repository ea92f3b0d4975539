// Package extender tells kube-scheduler which nodes are cleanest for a pod. It is a scheduler
// extender (k8s.io/kube-scheduler/extender/v1).
//
// # Points
//
// A node gets points by what the pod is expected to emit while it runs there: the mean intensity
// that is expected of the node's location over the pod's duration, times the node's power factor
// ([v1alpha1.PowerFactorKey]). The prediction is the one with which the pod's start was planned.
// Where the intensity is below zero, it is divided by the power factor, because taking more power
// is no merit.
//
// POST /prioritize answers with 10 points for the cleanest candidate, 0 for the dirtiest, and
// points in proportion between them. If all candidates are within a tenth of the dirtiest, there
// are fewer points, one for each hundredth: a difference that does not matter must not outweigh
// what matters. A node outside all locations of the policy gets no points. Nor does a node at a
// location of which nothing is expected, because unknown is never clean. If nothing is known at
// all, or the pod's policy does not exist, all nodes get the same points. This is no error.
//
// A pod that is meant for one location gets there if it can. The nodes there have 8 to 10 points.
// All other nodes have at most 4, the cleanest of them the most. A pod is meant for the location
// that it asks for or, under a policy with buckets, for the location that was planned for it: the
// cleanest location may have no room below its ceiling, which the forecast does not tell. Without
// buckets, the forecast at the moment of scheduling decides.
//
// A pod that was released with a preferred node affinity for a location is sent the same way by the
// affinity and by the points. The location was chosen by the same intensities, times the least
// power factor of its nodes (see package gating), which belongs to the cleanest node here. If such
// nodes are full, the points can outweigh the preference for the other nodes of the location, if
// these are much dirtier than nodes elsewhere: at the weight in our configuration, the preference
// counts for four points.
//
// Points only prefer. The scheduler multiplies the points by ten times the weight in its
// configuration, and adds them to the points of its plugins for nodes on which the pod fits. In a
// large cluster, the scheduler looks at only some of the nodes (percentageOfNodesToScore).
//
// # Strict placement
//
// A pod that asks for gridlatch.dev/placement: strict is kept off nodes whose location is in a
// dirtier bucket of its policy than the location of the cleanest candidate, by POST /filter.
// Buckets are about grids, whatever power the nodes take. For a pod that is meant for one location,
// the bucket of this location counts.
//
// Candidates are the nodes on which the pod fits otherwise. One location is always left. So strict
// work spills over like any other work when the cleanest location is full. Otherwise it would wait
// for nodes that an autoscaler never makes, because autoscalers do not ask extenders. After the
// latest start, and under a policy without buckets, no node is dropped. Nodes of which nothing is
// known are kept.
//
// The reasons go into FailedAndUnresolvableNodes, because evicting pods makes no node cleaner.
// `kubectl describe pod` shows the reasons if no node is left in the end, for example because
// another extender drops the rest.
//
// # Only our pods pay
//
// kube-scheduler asks an extender about every pod, unless its configuration has managedResources.
// With managedResources, it asks only about pods with a container that requests or limits one of
// these extended resources, whatever the quantity. So the webhook adds to the first container of
// delay-tolerant pods a request, and the equal limit that extended resources need, of
//
//	gridlatch.dev/placement: "0"
//
// and, where placement is strict, of gridlatch.dev/strict-placement. Only pods with the second
// resource make the second hop, to /filter.
//
// The quantity zero is harmless. Each of these points was looked up in the sources of Kubernetes
// 1.36 or of the other program:
//
//   - The scheduler's own NodeResourcesFit skips zero requests, in any profile and in a second
//     scheduler, with or without ignoredByScheduler, which our configuration sets as well. So do
//     the kubelet's admission, and dynamic resource allocation for extended resources.
//   - Cluster Autoscaler simulates with the same plugin. Karpenter compares with what a node has,
//     which is at least zero. So both scale up. With a quantity of one, which no node offers,
//     neither would ever scale up, because they do not know ignoredByScheduler. The same is true of
//     a second scheduler.
//   - A ResourceQuota counts the resource only if the quota names it, and then as zero. A
//     LimitRange has defaults and bounds by resource, and so does not apply. The QoS class, the
//     kubelet's cgroups and the VerticalPodAutoscaler look at cpu and memory.
//   - `kubectl describe pod` shows gridlatch.dev/placement: 0 under Limits and Requests, which
//     tells what it is for. The description of a node does not change.
//   - Kueue before the end of 2025 does not admit work that requests zero of a resource that its
//     ClusterQueue does not cover. So nothing is added to a Job's template, by which Kueue counts,
//     nor to a pod with a queue's label. Pods of such Jobs get the resource when they are created,
//     after their Job was admitted.
//   - The descheduler's nodeFit takes a node that does not name the resource for a node on which
//     the pod does not fit, and so leaves the pod where it is.
//
// Other ways to tell our pods apart are worse. Without managedResources, every pod of the cluster
// makes two requests. A schedulerName of our own sends work to a scheduler that has to be there, or
// the work never runs. With our way, pods are scheduled as ever without the extender, and without
// its configuration.
//
// One cost remains for all pods of a scheduler with any extender: Kubernetes 1.35 and later do not
// schedule identical pods in batches then.
//
// # Nodes
//
// An informer of nodes' metadata ([Nodes]) tells where nodes are, so that the scheduler needs to
// send only names (nodeCacheCapable: true). Whole nodes are accepted, too. Of the pod, only its
// name, annotations and creation are read.
package extender
