// Package cached tells the manager's cache what package policy needs of it: CarbonPolicies also
// while their CustomResourceDefinition is not there, and namespaces, nodes and CronJobs without
// what nobody reads.
package cached

import (
	"context"
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// ByObject says what this package needs in the manager's cache: the metadata
// of namespaces and of nodes, and CronJobs, each stripped to what is read. Pods and Jobs are in a
// cache of their own, see Records.
func ByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		policy.Metadata(policy.NamespaceKind()): {Transform: stripNamespace},
		policy.Metadata(policy.NodeKind()):      {Transform: stripNode},
		&batchv1.CronJob{}:                      {Transform: stripCronJob},
	}
}

// Prepare makes the manager's cache, which has not started yet, ready for the
// readers of this package: they fail rather than start an informer of their own.
func Prepare(ctx context.Context, c cache.Cache) error {
	for _, object := range []client.Object{&v1alpha1.CarbonPolicy{}, policy.Metadata(policy.NamespaceKind()), policy.Metadata(policy.NodeKind()), &batchv1.CronJob{}} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return nil
}

// WatchNodes has nodes told of each change of a node in a cache that has not started yet.
func WatchNodes(ctx context.Context, c cache.Cache, nodes *policy.Nodes) error {
	informer, err := c.GetInformer(ctx, policy.NodeMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if _, err := informer.AddEventHandler(nodes.EventHandler()); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
}

// stripNamespace keeps of a namespace its name and the policy that it names.
func stripNamespace(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences, m.Labels = nil, nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PolicyAnnotation)
	return m, nil
}

// nodeLabels is how many labels of a node are kept: several times of what any node
// has, but not all that a node's kubelet could write.
const nodeLabels = 256

// stripNode keeps of a node its labels, by which policies say where the node is, and
// its power factor.
func stripNode(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PowerFactorKey)
	if len(m.Labels) > nodeLabels {
		for _, key := range slices.Sorted(maps.Keys(m.Labels))[nodeLabels:] {
			delete(m.Labels, key)
		}
	}
	return m, nil
}

// only returns one of the annotations, bounded; none if it is not there.
func only(annotations map[string]string, key string) map[string]string {
	value, ok := annotations[key]
	if !ok {
		return nil
	}
	return map[string]string{key: policy.Truncate(value, policy.MaxValue)}
}

// stripCronJob keeps of a CronJob what tells when it runs next.
func stripCronJob(object any) (any, error) {
	c, ok := object.(*batchv1.CronJob)
	if !ok {
		return object, nil
	}
	kept := &batchv1.CronJob{Spec: batchv1.CronJobSpec{
		Schedule: policy.Truncate(c.Spec.Schedule, policy.MaxValue), TimeZone: c.Spec.TimeZone,
		ConcurrencyPolicy: c.Spec.ConcurrencyPolicy, Suspend: c.Spec.Suspend,
	}}
	kept.Namespace, kept.Name, kept.UID, kept.ResourceVersion = c.Namespace, c.Name, c.UID, c.ResourceVersion
	return kept, nil
}
