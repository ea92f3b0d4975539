package policy

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Clock tells the time; k8s.io/utils/clock has one that tests can set.
type Clock interface{ Now() time.Time }

// Policies reads CarbonPolicies from a cache and makes them ready for planning. Reader, Clock and
// Namespace are required.
type Policies struct {
	Reader client.Reader
	Clock  Clock
	// Namespace is the namespace of Gridlatch. It has the forecasts of providers.
	Namespace string
	// Nodes tells which locations have nodes. Without Nodes, work is planned for the first location
	// of its policy.
	Nodes *Nodes

	skipsSites bool
	live       client.Reader // may be nil
}

// AskingAlso returns policies that are also read from the API server if Reader does not have them: somebody may have
// created a policy a moment ago, together with work that names it.
func (p Policies) AskingAlso(live client.Reader) Policies {
	p.live = live
	return p
}

// WithoutSites returns policies that do not know which locations have nodes, for callers who plan
// nothing. To list the nodes of each location takes long after each change of a node.
func (p Policies) WithoutSites() Policies {
	p.skipsSites = true
	return p
}

// ready makes the policy of an object ready.
func (p Policies) ready(ctx context.Context, object *v1alpha1.CarbonPolicy) *Policy {
	policy := read(ctx, object, p.Namespace, p.Nodes, p.Clock.Now())
	p.checkAutoscaler(ctx, policy, object)
	if !p.skipsSites {
		policy.findSites(ctx, p.Nodes)
	}
	return policy
}

// Get returns the policy with a name, and the default policy for an empty name. The default policy
// always exists. The error for any other policy that does not exist is NotFound.
func (p Policies) Get(ctx context.Context, name string) (*Policy, error) {
	if name == "" {
		name = v1alpha1.DefaultPolicy
	}
	var object v1alpha1.CarbonPolicy
	err := p.Reader.Get(ctx, client.ObjectKey{Name: name}, &object)
	switch {
	case err == nil:
		return p.ready(ctx, &object), nil
	case apierrors.IsNotFound(err) && name == v1alpha1.DefaultPolicy:
		policy := p.ready(ctx, v1alpha1.Default())
		policy.Exists = false
		return policy, nil
	case apierrors.IsNotFound(err) && p.live != nil && p.live.Get(ctx, client.ObjectKey{Name: name}, &object) == nil:
		return p.ready(ctx, &object), nil
	default:
		return nil, fmt.Errorf("get CarbonPolicy %s: %w", name, err)
	}
}

// List returns all policies, each as Get returns it. The default policy is the first one, also
// where nobody has created it.
func (p Policies) List(ctx context.Context) ([]*Policy, error) {
	var objects v1alpha1.CarbonPolicyList
	if err := p.Reader.List(ctx, &objects); err != nil {
		return nil, fmt.Errorf("list CarbonPolicies: %w", err)
	}
	builtin, err := p.Get(ctx, v1alpha1.DefaultPolicy)
	if err != nil {
		return nil, err
	}
	policies := []*Policy{builtin}
	for i := range objects.Items {
		if objects.Items[i].Name != v1alpha1.DefaultPolicy {
			policies = append(policies, p.ready(ctx, &objects.Items[i]))
		}
	}
	return policies, nil
}

// Exists reports whether a policy exists. The default policy always exists.
func (p Policies) Exists(ctx context.Context, name string) bool {
	if name == v1alpha1.DefaultPolicy {
		return true
	}
	var object v1alpha1.CarbonPolicy
	return p.Reader.Get(ctx, client.ObjectKey{Name: name}, &object, client.UnsafeDisableDeepCopy) == nil
}

// Abandoned returns the policy that takes the place of policies that do not exist. Work under this
// policy starts at once.
func Abandoned() *Policy { return &Policy{isAbandoned: true, Accounting: DefaultAccounting()} }

// IsAbandoned reports whether the policy takes the place of policies that do not exist.
func (p *Policy) IsAbandoned() bool { return p.isAbandoned }

// NamespacePolicy returns the name of the policy that a namespace names. The name is empty if the
// namespace names none, or is not in the cache.
func NamespacePolicy(ctx context.Context, reader client.Reader, namespace string) string {
	return namespaceMetadata(ctx, reader, namespace).Annotations[v1alpha1.PolicyAnnotation]
}

// namespaceMetadata returns the metadata of a namespace that belongs to the cache. The metadata is
// empty if the namespace is not in the cache yet.
func namespaceMetadata(ctx context.Context, reader client.Reader, namespace string) *metav1.PartialObjectMetadata {
	object := NewMetadata(NamespaceKind())
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, object, client.UnsafeDisableDeepCopy); err != nil {
		return NewMetadata(NamespaceKind())
	}
	return object
}
