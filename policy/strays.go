package policy

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// exist reports whether there is a policy of a name; the default always exists.
func (p Policies) Exists(ctx context.Context, name string) bool {
	if name == v1alpha1.DefaultPolicy {
		return true
	}
	var object v1alpha1.CarbonPolicy
	return p.Reader.Get(ctx, client.ObjectKey{Name: name}, &object, client.UnsafeDisableDeepCopy) == nil
}
