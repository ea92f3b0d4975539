package manifests_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestWhoReadsTheReportMayChangeNothing is about the Role that docs/report.md binds to users.
func TestWhoReadsTheReportMayChangeNothing(t *testing.T) {
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"gridlatch"}, Verbs: []string{"get"}},
	}
	file, err := os.Open(filepath.Join("base", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []rbacv1.PolicyRule
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var role rbacv1.Role
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if role.Kind != "Role" || role.Name != "gridlatch-report-reader" {
			continue
		}
		if role.Namespace != "gridlatch-system" || len(role.Labels) != 3 { // a label more may make another role include this one
			t.Errorf("namespace %s, labels %v", role.Namespace, role.Labels)
		}
		got = append(got, role.Rules...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
