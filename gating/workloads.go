package gating

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/watching"
)

// byOwner finds Workloads by the work for which Kueue has made them.
const byOwner = "gridlatch.owner"

// Workloads knows for which work Kueue has made a Workload. It reads metadata only. A nil Workloads
// knows nothing.
type Workloads struct{ resource *watching.Resource }

// NewWorkloads returns a cache, which is filled once it is started, once Kueue is installed, and once
// Gridlatch has the rights of manifests/components/kueue.
func NewWorkloads(config *rest.Config) (*Workloads, error) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return newWorkloads(client), nil
}

func newWorkloads(client metadata.Interface) *Workloads {
	return &Workloads{&watching.Resource{
		Definitions: client, Name: schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta2", Resource: "workloads"},
		Keep: keepWorkload, Indexers: toolscache.Indexers{byOwner: indexByOwner},
	}}
}

// Start keeps the cache current until the context ends; for a manager.
func (w *Workloads) Start(ctx context.Context) error {
	w.resource.Run(ctx)
	return nil
}

// NeedLeaderElection makes a manager fill the cache on the leader, beside the loop.
func (w *Workloads) NeedLeaderElection() bool { return true }

// lacks reports whether Kueue is installed and has no Workload for an object.
func (w *Workloads) lacks(object metav1.Object) bool { return w.isKnown() && !w.has(object) }

// has reports whether Kueue has a Workload for an object, as far as is known.
func (w *Workloads) has(object metav1.Object) bool {
	return w != nil && len(w.resource.Find(byOwner, string(object.GetUID()))) > 0
}

// isKnown reports whether Kueue is installed and all its Workloads are known.
func (w *Workloads) isKnown() bool {
	return w != nil && w.resource.IsKnown() && !w.resource.IsAbsent() && !w.resource.IsForbidden()
}

// keepWorkload keeps the name and the owner of a Workload.
func keepWorkload(object any) (any, error) {
	full, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("a Workload is a %T", object)
	}
	kept := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: full.Namespace, Name: full.Name, UID: full.UID, ResourceVersion: full.ResourceVersion,
	}}
	if owner := metav1.GetControllerOfNoCopy(full); owner != nil && isPlausible(owner) {
		kept.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return kept, nil
}

func indexByOwner(object any) ([]string, error) {
	kept, ok := object.(*metav1.PartialObjectMetadata)
	if !ok || len(kept.OwnerReferences) == 0 {
		return nil, nil
	}
	return []string{string(kept.OwnerReferences[0].UID)}, nil
}
