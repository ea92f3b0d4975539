package policy

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// IsAudit reports whether the policy holds nothing, and tells what would have happened.
func (p *Policy) IsAudit() bool { return p.spec.Mode == v1alpha1.ModeAudit }

// IsAudit is [Policy.IsAudit] for the policy with a name, or for the default policy if the name is
// empty. A policy that does not exist audits nothing.
func (p Policies) IsAudit(ctx context.Context, name string) bool {
	if name == "" {
		name = v1alpha1.DefaultPolicy
	}
	var object v1alpha1.CarbonPolicy
	err := p.Reader.Get(ctx, client.ObjectKey{Name: name}, &object, client.UnsafeDisableDeepCopy)
	return err == nil && object.Spec.Mode == v1alpha1.ModeAudit
}

// IsAuditedNamespace reports whether a namespace has the label by which all of its work that asks to
// wait is audited. An error is a value of the label that cannot be read. A namespace that is not in
// the cache has no label.
func IsAuditedNamespace(ctx context.Context, reader client.Reader, namespace string) (bool, *field.Error) {
	value, isLabelled := namespaceMetadata(ctx, reader, namespace).Labels[v1alpha1.AuditLabel]
	switch {
	case !isLabelled || value == v1alpha1.AuditNone:
		return false, nil
	case value == v1alpha1.AuditAsking || value == v1alpha1.AuditAll:
		return true, nil
	default:
		path := field.NewPath("metadata", "labels").Key(v1alpha1.AuditLabel)
		return false, field.NotSupported(path, value, []string{v1alpha1.AuditAsking, v1alpha1.AuditAll, v1alpha1.AuditNone})
	}
}
