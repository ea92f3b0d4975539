package gating

import (
	"context"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Nodes knows which nodes there are at a location. What it was asked is
// remembered until a node comes, goes or gets other labels, so that the answer
// costs an admission nothing. Reader is required.
type Nodes struct {
	// Reader reads the cache that CacheByObject describes; in a command, which
	// asks but once, the API server.
	Reader client.Reader

	mu   sync.Mutex
	with map[string][]*corev1.Node // by their labels; of nodes, names and labels alone
}

// Watch follows the nodes of a cache that has not started yet.
func (n *Nodes) Watch(ctx context.Context, c cache.Cache) error {
	informer, err := c.GetInformer(ctx, metadata(nodeKind()), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.forget() },
		DeleteFunc: func(any) { n.forget() },
		UpdateFunc: func(before, after any) {
			a, ok := before.(metav1.Object)
			b, also := after.(metav1.Object)
			if !ok || !also || relabelled(a, b) {
				n.forget()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
}

// relabelled reports whether an update of a node, such as one of its status that
// its kubelet writes every few seconds, is one of its labels.
func relabelled(before, after metav1.Object) bool {
	return !maps.Equal(before.GetLabels(), after.GetLabels())
}

func (n *Nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.with)
}

// having returns the nodes with the labels; none if they cannot be read.
func (n *Nodes) having(ctx context.Context, selector map[string]string) []*corev1.Node {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := labels.FormatLabels(selector)
	if nodes, known := n.with[key]; known {
		return nodes
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(nodeKind())
	if err := n.Reader.List(ctx, list, client.MatchingLabels(selector), client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache is not filled yet, or a user may not look
	}
	nodes := make([]*corev1.Node, len(list.Items))
	for i := range list.Items {
		nodes[i] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: list.Items[i].Name, Labels: list.Items[i].Labels}}
	}
	if n.with == nil {
		n.with = map[string][]*corev1.Node{}
	}
	n.with[key] = nodes
	return nodes
}
