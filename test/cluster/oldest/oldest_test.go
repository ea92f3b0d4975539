// Package oldest_test looks at what is shipped as the oldest Kubernetes would for which it is meant.
package oldest_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

const manifests = "../../../manifests/"

// compiler knows the functions that an API server of 1.30 has: that is the first with scheduling gates, match
// conditions and admission policies for good.
func compiler(t *testing.T) *cel.CompositedCompiler {
	t.Helper()
	c, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(version.MajorMinor(1, 30)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read decodes a file of one or more objects of a kind, of which others are left out.
func read[T any](t *testing.T, name, kind string, of func(*T) string) []T {
	t.Helper()
	file, err := os.Open(manifests + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []T
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var o T
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if of(&o) == kind {
			all = append(all, o)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no %s", name, kind)
	}
	return all
}

func expectCompiled(t *testing.T, c cel.Compiler, expression cel.ExpressionAccessor) {
	t.Helper()
	result := c.CompileCELExpression(expression, cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions)
	if result.Error != nil {
		t.Errorf("%s\n%v", expression.GetExpression(), result.Error)
	}
}

func TestTheOldestKubernetesKnowsEveryFunctionOfTheAdmissionPolicies(t *testing.T) {
	kind := func(p *admissionv1.ValidatingAdmissionPolicy) string { return p.Kind }
	policies := append(read(t, "base/admission.yaml", "ValidatingAdmissionPolicy", kind), read(t, "base/unheard.yaml", "ValidatingAdmissionPolicy", kind)...)
	components, err := filepath.Glob(manifests + "components/*/admission.yaml")
	if err != nil || len(components) == 0 {
		t.Fatal("no component has admission policies", err)
	}
	for _, path := range components {
		policies = append(policies, read(t, strings.TrimPrefix(path, manifests), "ValidatingAdmissionPolicy", kind)...)
	}
	for _, policy := range policies {
		c := compiler(t)
		for _, m := range policy.Spec.MatchConditions {
			expectCompiled(t, c, &matchconditions.MatchCondition{Name: m.Name, Expression: m.Expression})
		}
		for _, v := range policy.Spec.Variables {
			named := &validating.Variable{Name: v.Name, Expression: v.Expression}
			if result := c.CompileAndStoreVariable(named, cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions); result.Error != nil {
				t.Errorf("%s: %v", v.Name, result.Error)
			}
		}
		for _, v := range policy.Spec.Validations {
			expectCompiled(t, c, &validating.ValidationCondition{Expression: v.Expression})
			if v.MessageExpression != "" {
				expectCompiled(t, c, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
			}
		}
	}
}

func TestTheOldestKubernetesKnowsEveryFunctionOfTheMatchConditions(t *testing.T) {
	kind := func(c *admissionv1.MutatingWebhookConfiguration) string { return c.Kind }
	for _, configuration := range read(t, "base/webhook.yaml", "MutatingWebhookConfiguration", kind) {
		for _, webhook := range configuration.Webhooks {
			for _, m := range webhook.MatchConditions {
				expectCompiled(t, compiler(t), &matchconditions.MatchCondition{Name: m.Name, Expression: m.Expression})
			}
		}
	}
}
