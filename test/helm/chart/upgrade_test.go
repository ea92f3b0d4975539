package chart

import (
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/kube/fake"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// upgradeCommand is the command of an upgrade for users.
var upgradeCommand = regexp.MustCompile("helm upgrade gridlatch [^`\n]+")

// TestAnUpgradeBringsTheImageOfTheNewPackage upgrades as the pages and the notes of the chart say.
func TestAnUpgradeBringsTheImageOfTheNewPackage(t *testing.T) {
	texts := map[string]string{"the notes": notes(t, release{})}
	for _, page := range []string{"docs/install.md", "docs/operations.md"} {
		text, err := os.ReadFile("../../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		texts[page] = string(text)
	}
	for name, text := range texts {
		commands := upgradeCommand.FindAllString(text, -1)
		if len(commands) == 0 {
			t.Errorf("%s: no command of an upgrade", name)
		}
		for _, command := range commands {
			got := upgraded(t, command)
			if want := "registry.example.com/gridlatch:v2.0.0"; strings.Count(got, want) != 3 {
				t.Errorf("%s: %s: want the image %s in 3 Deployments:\n%s", name, command, want, strings.Join(regexp.MustCompile("image: .*").FindAllString(got, -1), "\n"))
			}
			if !strings.Contains(got, "replicas: 5") {
				t.Errorf("%s: %s: the value of the user is lost", name, command)
			}
		}
	}
}

// upgraded installs the chart of one version, upgrades with the flags of a command to the next, and returns the objects.
func upgraded(t *testing.T, command string) string {
	t.Helper()
	memory := driver.NewMemory()
	memory.SetNamespace("carbon")
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = common.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	configuration := &action.Configuration{
		Releases: storage.Init(memory), KubeClient: &fake.PrintingKubeClient{Out: io.Discard, LogOutput: io.Discard}, Capabilities: capabilities,
	}
	install := action.NewInstall(configuration)
	install.ReleaseName, install.Namespace, install.WaitStrategy = "gridlatch", "carbon", kube.HookOnlyStrategy
	upgrade := action.NewUpgrade(configuration)
	upgrade.Namespace, upgrade.WaitStrategy = "carbon", kube.HookOnlyStrategy
	upgrade.ReuseValues = strings.Contains(command, " --reuse-values")
	upgrade.ResetThenReuseValues = strings.Contains(command, " --reset-then-reuse-values")
	values := map[string]any{"replicas": 5}
	if _, err := install.Run(packaged(t, "v1.0.0"), maps.Clone(values)); err != nil {
		t.Fatal(err)
	}
	made, err := upgrade.Run("gridlatch", packaged(t, "v2.0.0"), map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	return made.(*releasev1.Release).Manifest
}

// packaged returns the chart of a version, as a release has it.
func packaged(t *testing.T, version string) *chartv2.Chart {
	t.Helper()
	path, err := Package(charts, t.TempDir(), version, ParseImage("registry.example.com/gridlatch:"+version), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}
