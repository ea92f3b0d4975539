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

// Location is a location of a policy.
type Location struct {
	Name string
	// NodeSelector has the labels of the nodes at the location. A node with the labels of several
	// locations is at the first of them. The first location without labels has the nodes that are
	// at no other location.
	NodeSelector map[string]string
	// Expected is the expected intensity from now on.
	Expected *forecast.Series
}

// nowhere is the location of a node that is at no location, or is not known.
const nowhere = -1

// nodeSite is where a node is, and its power factor.
type nodeSite struct {
	location int // an index of the policy's locations, or nowhere
	factor   float64
}

// node is what is known of a node.
type node struct {
	labels map[string]string
	factor float64
}

// Nodes knows the location of each node under each policy. An informer of nodes' metadata feeds
// Nodes. A change of one node costs the same for ten nodes and for ten thousand. The zero value
// knows no node.
type Nodes struct {
	mu    sync.RWMutex
	known map[string]node
	// maps has the sites of all nodes by policy. A map is made at the first request for a policy,
	// and again after the locations of the policy have changed.
	maps map[string]*siteMap
}

// siteMap has the site of each node under one policy.
type siteMap struct {
	locations []Location
	sites     map[string]nodeSite
}

// OnAdd adds a node.
func (n *Nodes) OnAdd(object any, _ bool) { n.set(object) }

// OnUpdate takes over a change of a node.
func (n *Nodes) OnUpdate(_, object any) { n.set(object) }

// OnDelete deletes a node.
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

// set takes over a node, unless its labels and power factor are the same: others write to nodes all
// the time.
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
	if err != nil { // the status of policies tells users
		log.Log.WithName("extender").Info("a power factor cannot be used, and 1 is used instead", "because", err.Error())
	}
	for _, c := range n.maps {
		c.sites[name] = now.siteIn(c.locations)
	}
}

// locate returns the sites of nodes under a policy, in the memory of other sites. The names are
// JSON strings. The cost is one look-up for each name.
func (n *Nodes) locate(policy string, locations []Location, names [][]byte, sites []nodeSite) []nodeSite {
	sites = slices.Grow(sites[:0], len(names))
	for range names {
		sites = append(sites, nodeSite{nowhere, 1})
	}
	if len(locations) == 0 {
		return sites
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
		// no name of a node has characters that JSON escapes
		if s, ok := c.sites[string(name[1:len(name)-1])]; ok {
			sites[i] = s
		}
	}
	return sites
}

// drawMap makes the map of a policy.
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

// Forget deletes the map of a policy that does not exist any more.
func (n *Nodes) Forget(policy string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.maps, policy)
}

// PolicyHandler returns the handler for changes of policies. The map of a policy is deleted with the
// policy, because no pod may ever name the policy again.
func (n *Nodes) PolicyHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil { // policies have no namespace
			n.Forget(name)
		}
	}}
}

// siteIn returns the site of a node among the locations of a policy.
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

// hasLabels reports whether a node has all these labels.
func (n node) hasLabels(labels map[string]string) bool {
	for key, value := range labels {
		if got, ok := n.labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// haveSameSelectors reports whether two lists of locations put each node at the same location.
func haveSameSelectors(a, b []Location) bool {
	return slices.EqualFunc(a, b, func(a, b Location) bool { return maps.Equal(a.NodeSelector, b.NodeSelector) })
}
