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
)

// Nodes knows which nodes there are at a location. What it was asked is
// remembered until a node comes, goes, or gets other labels or another power
// factor, so that the answer costs an admission nothing. Reader is required.
type Nodes struct {
	// Reader reads the cache that CacheByObject describes; in a command, which
	// asks but once, the API server.
	Reader client.Reader

	mu   sync.Mutex
	with map[string]pool // by the labels of its nodes
}

// pool is what is known of the nodes of a location.
type pool struct {
	nodes  []*corev1.Node // names and labels alone
	powers []float64      // their power factors
	least  float64        // of all
	wrong  []string       // what is wrong with those of some
}

func newPool(objects []metav1.PartialObjectMetadata) pool {
	p := pool{nodes: make([]*corev1.Node, len(objects)), powers: make([]float64, len(objects))}
	for i := range objects {
		o := &objects[i]
		power, err := v1alpha1.PowerFactor(o)
		if err != nil {
			p.wrong = append(p.wrong, err.Error())
		}
		p.nodes[i], p.powers[i] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Labels: o.Labels}}, power
	}
	p.least, _ = p.power(func(*corev1.Node) bool { return true })
	slices.Sort(p.wrong)
	return p
}

// power returns the least power factor of the nodes that suit, which is where the
// extender sends work first; false if none does.
func (p pool) power(suits func(*corev1.Node) bool) (least float64, found bool) {
	for i, n := range p.nodes {
		if (!found || p.powers[i] < least) && suits(n) {
			least, found = p.powers[i], true
		}
	}
	return least, found
}

// EventHandler returns what has to be told of each change of a node.
func (n *Nodes) EventHandler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.forget() },
		DeleteFunc: func(any) { n.forget() },
		UpdateFunc: func(before, after any) {
			a, ok := before.(metav1.Object)
			b, also := after.(metav1.Object)
			if !ok || !also || IsRelabelled(a, b) {
				n.forget()
			}
		},
	}
}

// relabelled reports whether an update of a node, such as one of its status that
// its kubelet writes every few seconds, is one of its labels or its power factor.
func IsRelabelled(before, after metav1.Object) bool {
	return !maps.Equal(before.GetLabels(), after.GetLabels()) ||
		before.GetAnnotations()[v1alpha1.PowerFactorKey] != after.GetAnnotations()[v1alpha1.PowerFactorKey]
}

func (n *Nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.with)
}

// having returns the nodes with the labels, but for those with all of some that
// are taken; none if they cannot be read.
func (n *Nodes) having(ctx context.Context, selector map[string]string, taken ...map[string]string) pool {
	if n == nil {
		return pool{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := labels.FormatLabels(selector)
	for _, other := range taken {
		key += " but " + labels.FormatLabels(other)
	}
	if p, known := n.with[key]; known {
		return p
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(NodeKind())
	if err := n.Reader.List(ctx, list, client.MatchingLabels(selector), client.UnsafeDisableDeepCopy); err != nil {
		return pool{} // the cache is not filled yet, or a user may not look
	}
	if n.with == nil {
		n.with = map[string]pool{}
	}
	n.with[key] = newPool(slices.DeleteFunc(list.Items, func(o metav1.PartialObjectMetadata) bool {
		return slices.ContainsFunc(taken, func(other map[string]string) bool { return hasAll(o.Labels, other) })
	}))
	return n.with[key]
}

// hasAll reports whether some labels are among others.
func hasAll(labels, some map[string]string) bool {
	for key, value := range some {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
