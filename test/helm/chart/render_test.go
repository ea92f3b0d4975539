package chart

import (
	"maps"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

// release is what a test asks Helm for.
type release struct {
	namespace string
	set       []string // as on Helm's command line
	known     []string // API versions that the cluster knows
	upgrade   bool
	cluster   []Object // what Helm finds there; nil: Helm asks no cluster
}

// rendered returns the text of every template, by its name in the chart.
func rendered(t *testing.T, r release) (map[string]string, error) {
	t.Helper()
	loaded, err := loader.Load(charts)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, text := range r.set {
		if err := strvals.ParseInto(text, values); err != nil {
			t.Fatal(err)
		}
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(capabilities.APIVersions, r.known...)
	options := common.ReleaseOptions{Name: "gridlatch", Namespace: r.namespace, Revision: 1, IsInstall: !r.upgrade, IsUpgrade: r.upgrade}
	all, err := util.ToRenderValues(loaded, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	if r.cluster == nil {
		return engine.Render(loaded, all)
	}
	return engine.RenderWithClientProvider(loaded, all, newCluster(r.cluster))
}

// objectsOf returns the objects that Helm makes of the chart, without its notes.
func objectsOf(t *testing.T, r release) map[string]Object {
	t.Helper()
	files, err := rendered(t, r)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Object{}
	for name, text := range files {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		objects, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		maps.Copy(all, byID(objects))
	}
	return all
}

func annotation(o Object, key string) string {
	metadata, _ := o["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, _ := annotations[key].(string)
	return value
}
