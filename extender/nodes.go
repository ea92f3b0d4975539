package extender

import (
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// Location is a grid location.
type Location struct {
	Name string
	// NodeSelector has the labels of its nodes. A node with those of several
	// locations is at the first. The first location without any has the nodes that
	// no other has.
	NodeSelector map[string]string
	// Expected is its intensity from now on, as far as that can be known.
	Expected *forecast.Series
}

// nowhere is the location of a node that is in none, or not known.
const nowhere = -1

// spot is where a node is: an index of the policy's locations, or nowhere.
type nodeSite struct {
	location int
	factor   float64
}

type node struct {
	labels map[string]string
	factor float64
}

// Nodes knows of each node at which location of each policy it is. It is fed by
// an informer of nodes' metadata: a change of a node costs as much whether there
// are ten or ten thousand. The zero value knows no node.
type Nodes struct {
	mu    sync.RWMutex
	known map[string]node
	// charts are made at the first request for a policy, and anew at the first
	// after its locations have changed.
	maps map[string]*siteMap
}

// chart says for one policy where the nodes are.
type siteMap struct {
	locations []Location
	sites     map[string]nodeSite
}

// OnAdd learns of a node.
func (n *Nodes) OnAdd(object any, _ bool) { n.set(object) }

// OnUpdate learns of a change of a node.
func (n *Nodes) OnUpdate(_, object any) { n.set(object) }

// OnDelete forgets a node.
func (n *Nodes) OnDelete(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, meta.GetName())
	for _, c := range n.maps {
		delete(c.sites, meta.GetName())
	}
}

// set takes up a node, unless nothing has changed that matters: nodes are
// written to all the time.
func (n *Nodes) set(object any) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	factor, err := v1alpha1.PowerFactor(meta)
	name, now := meta.GetName(), node{meta.GetLabels(), factor}
	n.mu.RLock()
	before, known := n.known[name]
	n.mu.RUnlock()
	if known && before.factor == now.factor && maps.Equal(before.labels, now.labels) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]node{}
	}
	n.known[name] = now
	if err != nil { // policies that choose between locations tell, too
		log.Log.WithName("extender").Info("a power factor is taken to be 1", "because", err.Error())
	}
	for _, c := range n.maps {
		c.sites[name] = now.siteIn(c.locations)
	}
}

// locate returns where nodes are by the locations of a policy, in the place of
// other spots. Their names are JSON strings. It takes a look-up for each.
func (n *Nodes) locate(policy string, locations []Location, names [][]byte, spots []nodeSite) []nodeSite {
	spots = slices.Grow(spots[:0], len(names))
	for range names {
		spots = append(spots, nodeSite{nowhere, 1})
	}
	if len(locations) == 0 {
		return spots
	}
	n.mu.RLock()
	c := n.maps[policy]
	if c == nil || !haveSameSelectors(c.locations, locations) {
		n.mu.RUnlock()
		c = n.drawMap(policy, locations)
		n.mu.RLock()
	}
	defer n.mu.RUnlock()
	for i, name := range names {
		// the name of a node that is one has nothing that JSON would escape
		if s, ok := c.sites[string(name[1:len(name)-1])]; ok {
			spots[i] = s
		}
	}
	return spots
}

// draw makes the chart of a policy.
func (n *Nodes) drawMap(policy string, locations []Location) *siteMap {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &siteMap{make([]Location, len(locations)), make(map[string]nodeSite, len(n.known))}
	for i, l := range locations {
		c.locations[i] = Location{Name: l.Name, NodeSelector: maps.Clone(l.NodeSelector)}
	}
	for name, known := range n.known {
		c.sites[name] = known.siteIn(c.locations)
	}
	if n.maps == nil {
		n.maps = map[string]*siteMap{}
	}
	n.maps[policy] = c
	return c
}

// Forget drops the chart of a policy that is gone.
func (n *Nodes) Forget(policy string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.maps, policy)
}

// in returns where a node is by the locations of a policy.
func (n node) siteIn(locations []Location) nodeSite {
	rest := nowhere
	for i, l := range locations {
		switch {
		case len(l.NodeSelector) == 0 && rest == nowhere:
			rest = i
		case len(l.NodeSelector) > 0 && n.hasLabels(l.NodeSelector):
			return nodeSite{i, n.factor}
		}
	}
	return nodeSite{rest, n.factor}
}

func (n node) hasLabels(labels map[string]string) bool {
	for key, value := range labels {
		if got, ok := n.labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// sameNodes reports whether two lists of locations put each node at the same one.
func haveSameSelectors(a, b []Location) bool {
	return slices.EqualFunc(a, b, func(a, b Location) bool { return maps.Equal(a.NodeSelector, b.NodeSelector) })
}
