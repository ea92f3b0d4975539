package policy

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestTheLabelOfANamespaceSaysWhatIsAudited(t *testing.T) {
	for value, tt := range map[string]struct {
		audits bool
		wrong  string
	}{
		"true": {true, ""}, "all": {true, ""}, "false": {false, ""}, "none": {false, ""},
		"yes":  {false, `metadata.labels[gridlatch.dev/audit]: Unsupported value: "yes": supported values: "true", "all", "false"`},
		"True": {false, `metadata.labels[gridlatch.dev/audit]: Unsupported value: "True": supported values: "true", "all", "false"`},
		"":     {false, `metadata.labels[gridlatch.dev/audit]: Unsupported value: "": supported values: "true", "all", "false"`},
	} {
		t.Run(value, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{v1alpha1.AuditLabel: value}, Annotations: map[string]string{v1alpha1.AuditLabel: "true"}}}
			if value == "none" {
				ns.Labels = nil
			}
			audits, err := IsAuditedNamespace(t.Context(), fake.NewClientBuilder().WithObjects(ns).Build(), "n")
			wrong := ""
			if err != nil {
				wrong = err.Error()
			}
			if audits != tt.audits || wrong != tt.wrong {
				t.Errorf("audits %v, %s; want %v, %s", audits, wrong, tt.audits, tt.wrong)
			}
		})
	}
	if audits, err := IsAuditedNamespace(t.Context(), fake.NewClientBuilder().Build(), "unknown"); audits || err != nil {
		t.Errorf("a namespace that is not known: %v, %v", audits, err)
	}
}

func TestOnlyTheModeAuditAudits(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	audits := named("audits")
	audits.Spec.Mode = v1alpha1.ModeAudit
	old := named("old")
	old.Spec.Mode = "" // of a schema without modes
	p := Policies{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(audits, old, named("enforces")).Build()}
	for name, want := range map[string]bool{"audits": true, "old": false, "enforces": false, "gone": false, "": false} {
		if got := p.IsAudit(t.Context(), name); got != want {
			t.Errorf("policy %q audits: %v, want %v", name, got, want)
		}
	}
}

func TestTheAuditOfWorkIsAskedOfItsNamespace(t *testing.T) {
	want := "metadata.annotations[gridlatch.dev/audit]: has no effect here: write it on the namespace, as a label"
	got := UnknownKeys(map[string]string{v1alpha1.AuditLabel: "true"}, field.NewPath("metadata", "annotations"))
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %s, want %s", strings.Join(got, "; "), want)
	}
}
