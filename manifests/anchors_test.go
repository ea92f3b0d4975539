package manifests_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/leaving"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/nodepool"
)

// TestGridlatchMayProtectTheRightsOfEveryComponent compares the names in rbac.yaml with the components whose rights
// package leaving protects.
func TestGridlatchMayProtectTheRightsOfEveryComponent(t *testing.T) {
	want := []string{"gridlatch"}
	for _, component := range append(leaving.EngineComponents(), ceiling.Component, nodepool.Component, nodegroup.Component) {
		want = append(want, "gridlatch-"+component)
	}
	file, err := os.Open(filepath.Join("base", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []string
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var role rbacv1.ClusterRole
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "clusterroles") {
				got = append(got, rule.ResourceNames...)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resourceNames of clusterroles (-want +got):\n%s", diff)
	}
}
