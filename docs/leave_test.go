package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// TestTheOperationsPageResumesEveryKind writes the commands that open what Gridlatch has closed, for those
// who have kubectl alone. test/e2e runs them.
func TestTheOperationsPageResumesEveryKind(t *testing.T) {
	const page = "docs/operations.md"
	var b strings.Builder
	b.WriteString("```bash\nwhile read -r resource patch; do\n")
	fmt.Fprintf(&b, "  kubectl get \"$resource\" -A -o jsonpath='%s' 2>/dev/null |\n", jsonPath(v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend))
	b.WriteString("  while read -r namespace name; do kubectl patch \"$resource\" \"$name\" -n \"$namespace\" --type=merge -p \"$patch\"; done\n")
	fmt.Fprintf(&b, "  kubectl get \"$resource\" -A -o jsonpath='%s' 2>/dev/null |\n", jsonPath(hold.KueueGatesAnnotation, v1alpha1.Gate))
	fmt.Fprintf(&b, "  while read -r namespace name; do kubectl annotate \"$resource\" \"$name\" -n \"$namespace\" %s-; done\n", hold.KueueGatesAnnotation)
	b.WriteString("done <<'END'\n")
	fmt.Fprintf(&b, "jobs.batch %s\n", resumePatch(t, []string{"spec", "suspend"}, false))
	for _, d := range door.All() {
		fmt.Fprintf(&b, "%s.%s %s\n", d.Resource, d.Kind.Group, resumePatch(t, d.Field, d.Open))
	}
	b.WriteString("END\n```\n")
	expect(t, page, generated(t, page, "resume", b.String()))
}

// jsonPath returns the namespaces and names of the objects whose annotation has a value.
func jsonPath(annotation, value string) string {
	return fmt.Sprintf(`{range .items[?(@.metadata.annotations.%s=="%s")]}{.metadata.namespace} {.metadata.name}{"\n"}{end}`,
		strings.ReplaceAll(annotation, ".", `\.`), value)
}

// resumePatch opens a door.
func resumePatch(t *testing.T, field []string, open any) string {
	t.Helper()
	patch := open
	for i := len(field) - 1; i >= 0; i-- {
		patch = map[string]any{field[i]: patch}
	}
	whole := patch.(map[string]any)
	whole["metadata"] = map[string]any{
		"labels": map[string]any{v1alpha1.StateLabel: v1alpha1.StateReleased}, "annotations": map[string]any{v1alpha1.HeldByAnnotation: nil},
	}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheCommandsToLeaveNameTheNamespaceOnce fails if somebody in another namespace has to search for it.
func TestTheCommandsToLeaveNameTheNamespaceOnce(t *testing.T) {
	_, leave, found := strings.Cut(page(t, "docs/operations.md"), "### Leave without a replica\n")
	if !found {
		t.Fatal("docs/operations.md has no commands to leave")
	}
	var lines []string
	for _, block := range regexp.MustCompile("(?ms)^```bash\n(.*?)^```\n").FindAllStringSubmatch(leave, -1) {
		for line := range strings.Lines(block[1]) {
			if strings.Contains(line, "gridlatch-system") {
				lines = append(lines, line)
			}
		}
	}
	if diff := cmp.Diff([]string{"ns=gridlatch-system\n"}, lines); diff != "" {
		t.Errorf("lines with the namespace (-want +got):\n%s", diff)
	}
}
