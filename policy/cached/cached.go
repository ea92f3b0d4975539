// Package cached has the manager's cache hold what package policy reads. It is apart from package
// policy, so that a command can read policies without linking the manager.
package cached

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// ByObject says what package policy needs in the cache: the metadata of namespaces and of nodes, and
// CronJobs, each stripped to what is read. Pods and Jobs are in a cache of their own, see package
// gating.
func ByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		policy.Metadata(policy.NamespaceKind()): {Transform: policy.StripNamespace},
		policy.NodeMetadata():                   {Transform: policy.StripNode},
		&batchv1.CronJob{}:                      {Transform: policy.StripCronJob},
	}
}

// Prepare makes a cache that has not started yet ready for package policy. Readers that find the cache
// unprepared fail, rather than start an informer of their own.
func Prepare(ctx context.Context, c cache.Cache) error {
	objects := []client.Object{&v1alpha1.CarbonPolicy{}, policy.Metadata(policy.NamespaceKind()), policy.NodeMetadata(), &batchv1.CronJob{}}
	for _, object := range objects {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return nil
}

// WatchNodes has nodes forget their answers when a node of a cache changes. The cache must not have
// started yet.
func WatchNodes(ctx context.Context, c cache.Cache, nodes *policy.Nodes) error {
	informer, err := c.GetInformer(ctx, policy.NodeMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { nodes.Forget() },
		DeleteFunc: func(any) { nodes.Forget() },
		UpdateFunc: func(before, after any) {
			a, ok := before.(metav1.Object)
			b, also := after.(metav1.Object)
			if !ok || !also || policy.IsRelabelled(a, b) {
				nodes.Forget()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
}
