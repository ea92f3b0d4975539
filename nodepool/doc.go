// Package nodepool lets Karpenter add nodes by how clean the electricity is. It changes how much a
// NodePool may grow, and which NodePool comes first. No node is replaced because of that.
//
// # Why only these fields
//
// Karpenter compares its nodes with the template of their NodePool. It replaces nodes that do not fit the
// template any more. A controller that writes the state of the grid into the requirements or the labels of
// the template makes Karpenter replace nodes whenever the grid turns, and a new node costs more than it
// saves. Karpenter compares neither spec.limits nor spec.weight with any node:
//
//	field                  what Karpenter does with it         written here
//	---------------------  ----------------------------------  ------------
//	spec.limits            adds no node beyond them; running   yes
//	                       nodes stay
//	spec.weight            tries the highest weight first      yes
//	spec.template          replaces nodes that do not fit      never
//	spec.disruption        removes nodes within its budgets    never
//	spec.replicas          keeps so many nodes                 never
//	karpenter.sh/ keys     remembers the template              never
//
// # Two ways to ask
//
// A NodePool with gridlatch.dev/limits: "200=cpu:1000,350=cpu:200,*=cpu:0" has the limits of the bucket of
// the intensity now. A limit never exceeds the one that the owner has set. Every bucket names the same
// resources, and the limits of other resources stay as they are. A static pool, which has spec.replicas,
// can limit its nodes only.
//
// A NodePool with gridlatch.dev/weights has the weight of its bucket, or with "auto" a weight by rank. All
// pools with "auto" are ranked together by the intensity times the power factor of the nodes: the first
// one gets the weight 100, the last one 1, and the others are spread evenly. A pool whose intensity is not
// known keeps its own weight. So does a pool that nobody can be ranked with. The API server lets a static
// pool have no weight.
//
// gridlatch.dev/policy names the CarbonPolicy. gridlatch.dev/location names one of its locations. Without
// this annotation, the location is the one at which all nodes of the pool are, by the requirements (In)
// and the labels of the template. If these do not tell, the first location of the policy counts. If nodes
// can be at several locations, that is a mistake.
//
// The owner's values are back while there is no usable forecast, while carbon does not count, while the
// policy has the mode Audit, and where an annotation cannot be read. An Event NodePoolInvalid tells of
// mistakes.
//
// # Prices
//
// A NodePool with gridlatch.dev/carbon-price: "200=0%,350=10%,*=25%" has a NodeOverlay gridlatch-POOL, by
// which Karpenter takes some nodes of the pool to be dearer than they are. These are the nodes of the
// architectures that take more power than another one, by gridlatch.dev/power-factor:
// "amd64=1,arm64=0.6". Without factors by architecture, all nodes of the pool look dearer. At 0 %, and
// while the intensity does not count, there is no NodeOverlay.
//
// A NodeOverlay with the label app.kubernetes.io/managed-by: gridlatch is ours alone. Nothing of it is
// lent. A NodeOverlay without the label is never touched: the first write is an apply without force, which
// the API server refuses if somebody else owns a field. No node drifts because of a price, but Karpenter
// may replace nodes to save money, if the NodePool lets it.
//
// # When
//
// A new forecast, a changed policy and a changed pool are acted on at once. Limits rise only as far as
// they would if the intensity were a little higher (--nodepool-hysteresis-percent). After limits were
// lowered because of the intensity, they are not lowered again before --nodepool-interval is over. A
// weight and a price change at most once in that interval. Two pools that were ranked keep their order until the
// second one is cleaner by more than the hysteresis. A time in the future does not count: a clock that was
// ahead has noted the time.
//
// All pools with "auto" are ranked once for each change of the grid or of one of them, and not once for each
// pool. Otherwise a thousand pools would take half a minute.
//
// The reason on a pool says when the next change is expected. A newer forecast alone rewrites nothing, so
// this is what was expected when the values were set. If the change has not come by then, the reason is
// written anew.
//
// # The owner's word
//
// Package override tells how the fields are changed, remembered and given back. Each limit is lent for
// itself: if the owner adds a limit of another resource, nobody touches that limit. If the pool had no
// limits, spec.limits goes when the pool is given back. A limit or a weight that no note could remember, such
// as 1e999999999, is not lent.
//
// # Without Karpenter
//
// Without Karpenter's CustomResourceDefinition, or without the rights in manifests/components/karpenter,
// this package sleeps. It wakes when they appear.
package nodepool
