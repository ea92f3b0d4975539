package policy

import (
	"context"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/region"
)

// Nodes knows which nodes there are at a location. An answer is kept until a node comes, goes, or
// gets other labels or another power factor, so that the answer costs an admission nothing. Reader
// is required.
type Nodes struct {
	// Reader reads the cache of nodes, or the API server in a command that asks only once.
	Reader client.Reader

	mu sync.Mutex
	// bySelector keeps the answers by the labels that were asked for.
	bySelector map[string]nodeSet
	// regions keeps the regions of all nodes; nil if they are not known.
	regions map[string]bool
	// zones keeps the cloud regions in each zone that was asked for.
	zones map[zone][]region.Region
}

// zone is a zone of a provider.
type zone struct{ provider, name string }

// nodeSet is what is known of the nodes of a location.
type nodeSet struct {
	nodes      []*corev1.Node // with names and labels only
	powers     []float64      // the power factors of the nodes
	leastPower float64        // the least power factor
	problems   []string       // what is wrong with the power factors of nodes
}

func newNodeSet(objects []metav1.PartialObjectMetadata) nodeSet {
	p := nodeSet{nodes: make([]*corev1.Node, len(objects)), powers: make([]float64, len(objects))}
	for i := range objects {
		o := &objects[i]
		power, err := v1alpha1.PowerFactor(o)
		if err != nil {
			p.problems = append(p.problems, err.Error())
		}
		p.nodes[i], p.powers[i] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Labels: o.Labels}}, power
	}
	p.leastPower, _ = p.leastPowerOf(func(*corev1.Node) bool { return true })
	slices.Sort(p.problems)
	return p
}

// leastPowerOf returns the least power factor of the suitable nodes, and false if no node is
// suitable. The extender sends work to the node with the least power factor first.
func (p nodeSet) leastPowerOf(suits func(*corev1.Node) bool) (least float64, found bool) {
	for i, n := range p.nodes {
		if (!found || p.powers[i] < least) && suits(n) {
			least, found = p.powers[i], true
		}
	}
	return least, found
}

// EventHandler returns the handler for changes of nodes. Without the handler, answers become
// outdated.
func (n *Nodes) EventHandler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.clear() },
		DeleteFunc: func(any) { n.clear() },
		UpdateFunc: func(before, after any) {
			a, ok := before.(metav1.Object)
			b, also := after.(metav1.Object)
			if !ok || !also || IsRelabelled(a, b) {
				n.clear()
			}
		},
	}
}

// IsRelabelled reports whether an update of a node changes the labels or the power factor. Most
// updates do not: a kubelet updates the status every few seconds.
func IsRelabelled(before, after metav1.Object) bool {
	return !maps.Equal(before.GetLabels(), after.GetLabels()) ||
		before.GetAnnotations()[v1alpha1.PowerFactorKey] != after.GetAnnotations()[v1alpha1.PowerFactorKey]
}

// clear deletes all answers.
func (n *Nodes) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.bySelector)
	n.regions = nil
}

// regionsIn returns the names of the cloud regions in a zone that have nodes. If the nodes cannot be
// read, the result is empty.
func (n *Nodes) regionsIn(ctx context.Context, z zone) []string {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	inZone, known := n.zones[z]
	if !known {
		if n.zones == nil {
			n.zones = map[zone][]region.Region{}
		}
		inZone = region.InZone(z.provider, z.name)
		n.zones[z] = inZone
	}
	if len(inZone) > 0 && n.regions == nil {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(NodeKind())
		if err := n.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil // the cache is not filled yet, or a user may not look
		}
		n.regions = map[string]bool{}
		for i := range list.Items {
			n.regions[list.Items[i].Labels[corev1.LabelTopologyRegion]] = true
		}
	}
	var found []string
	for _, r := range inZone {
		if n.regions[r.Name] {
			found = append(found, r.Name)
		}
	}
	return found
}

// nodesWith returns the nodes with all labels of the selector. Nodes with all labels of one of the
// taken selectors are left out. If the nodes cannot be read, the result is empty.
func (n *Nodes) nodesWith(ctx context.Context, selector map[string]string, taken ...map[string]string) nodeSet {
	if n == nil {
		return nodeSet{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := labels.FormatLabels(selector)
	for _, other := range taken {
		key += " but " + labels.FormatLabels(other)
	}
	if p, known := n.bySelector[key]; known {
		return p
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(NodeKind())
	if err := n.Reader.List(ctx, list, client.MatchingLabels(selector), client.UnsafeDisableDeepCopy); err != nil {
		return nodeSet{} // the cache is not filled yet, or a user may not look
	}
	if n.bySelector == nil {
		n.bySelector = map[string]nodeSet{}
	}
	n.bySelector[key] = newNodeSet(slices.DeleteFunc(list.Items, func(o metav1.PartialObjectMetadata) bool {
		return slices.ContainsFunc(taken, func(other map[string]string) bool { return hasAll(o.Labels, other) })
	}))
	return n.bySelector[key]
}

// hasAll reports whether labels include all of some.
func hasAll(labels, some map[string]string) bool {
	for key, value := range some {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
