// Package cached makes the manager's cache ready for package policy. CarbonPolicies are read also
// while their CustomResourceDefinition does not exist. Namespaces, nodes and CronJobs are kept
// without the parts that nobody reads.
package cached

import (
	"context"
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// ByObject returns what the manager's cache must keep: the metadata of namespaces and nodes, and
// CronJobs, without the parts that nobody reads. Pods and Jobs are in a cache of their own, see
// package gating.
func ByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		policy.NewMetadata(policy.NamespaceKind()): {Transform: stripNamespace},
		policy.NewMetadata(policy.NodeKind()):      {Transform: stripNode},
		&batchv1.CronJob{}:                         {Transform: stripCronJob},
	}
}

// Prepare starts the informers of a cache that has not started yet. Readers of other kinds then
// fail, and do not start informers of their own.
func Prepare(ctx context.Context, c cache.Cache) error {
	for _, object := range []client.Object{&v1alpha1.CarbonPolicy{}, policy.NewMetadata(policy.NamespaceKind()), policy.NewMetadata(policy.NodeKind()), &batchv1.CronJob{}} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return nil
}

// Watch calls a handler for each change of an object's kind in a cache that has not started yet.
func Watch(ctx context.Context, c cache.Cache, object client.Object, handler toolscache.ResourceEventHandler) error {
	informer, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if _, err := informer.AddEventHandler(handler); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// stripNamespace keeps the name of a namespace, the policy that the namespace names, and whether its
// work is audited.
func stripNamespace(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Labels = keepOnly(m.Labels, v1alpha1.AuditLabel)
	m.Annotations = keepOnly(m.Annotations, v1alpha1.PolicyAnnotation)
	return m, nil
}

// maxNodeLabels bounds the labels of a node that are kept. No node needs as many, but a kubelet
// could write more.
const maxNodeLabels = 256

// stripNode keeps the labels of a node, by which policies find the node's location, and the power
// factor.
func stripNode(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Annotations = keepOnly(m.Annotations, v1alpha1.PowerFactorKey)
	if len(m.Labels) > maxNodeLabels {
		for _, key := range slices.Sorted(maps.Keys(m.Labels))[maxNodeLabels:] {
			delete(m.Labels, key)
		}
	}
	return m, nil
}

// keepOnly returns some of the labels or annotations, each cut to a bounded length.
func keepOnly(all map[string]string, keys ...string) map[string]string {
	var kept map[string]string
	for _, key := range keys {
		value, ok := all[key]
		if !ok {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = policy.Truncate(value, policy.MaxValue)
	}
	return kept
}

// stripCronJob keeps what tells when a CronJob runs next, and what the CronJob asks for its runs.
func stripCronJob(object any) (any, error) {
	c, ok := object.(*batchv1.CronJob)
	if !ok {
		return object, nil
	}
	kept := &batchv1.CronJob{Spec: batchv1.CronJobSpec{
		Schedule: policy.Truncate(c.Spec.Schedule, policy.MaxValue), TimeZone: c.Spec.TimeZone, ConcurrencyPolicy: c.Spec.ConcurrencyPolicy,
		StartingDeadlineSeconds: c.Spec.StartingDeadlineSeconds, Suspend: c.Spec.Suspend,
	}}
	kept.Namespace, kept.Name, kept.UID, kept.ResourceVersion = c.Namespace, c.Name, c.UID, c.ResourceVersion
	kept.Labels, kept.Annotations = keepOnly(c.Labels, v1alpha1.DelayTolerantAnnotation), keepOnly(c.Annotations, policy.AskKeys()...)
	return kept, nil
}
