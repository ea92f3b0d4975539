package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"

func TestAReleaseNamesItsImage(t *testing.T) {
	for name, want := range map[string]Image{
		"registry.example.com:5000/a/gridlatch:v1.2.3":         {"registry.example.com:5000/a/gridlatch", "v1.2.3", ""},
		"registry.example.com:5000/a/gridlatch":                {"registry.example.com:5000/a/gridlatch", "latest", ""},
		"registry.example.com/gridlatch@" + digest:             {"registry.example.com/gridlatch", "", digest},
		"registry.example.com:5000/gridlatch:v1.2.3@" + digest: {"registry.example.com:5000/gridlatch", "v1.2.3", digest},
	} {
		t.Run(name, func(t *testing.T) {
			image := ParseImage(name)
			if image != want {
				t.Fatalf("image %+v, want %+v", image, want)
			}
			text, err := Install(manifests, "v1.2.3", image)
			if err != nil {
				t.Fatal(err)
			}
			pulled := image.Repository + ":" + image.Tag
			if image.Digest != "" {
				pulled = image.Repository + "@" + image.Digest
			}
			if got := strings.Count(string(text), "image: "+pulled+"\n"); got != 3 && image.Tag == "" || got != 3 && image.Digest == "" {
				t.Errorf("install.yaml has the image %s %d times, want 3", pulled, got)
			}
			packed, err := Package(charts, t.TempDir(), "v1.2.3", image, time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := loader.Load(packed)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range loaded.Raw {
				if text := string(file.Data); file.Name == "values.yaml" && (strings.Contains(text, "/blob/main/") || !strings.Contains(text, "/blob/v1.2.3/docs/")) {
					t.Error("values.yaml names pages of another version")
				}
			}
			values, _ := loaded.Values["image"].(map[string]any)
			if values["repository"] != image.Repository || values["tag"] != image.Tag || values["digest"] != image.Digest || loaded.Metadata.AppVersion != "v1.2.3" {
				t.Errorf("the chart %s has %v", loaded.Metadata.AppVersion, values)
			}
		})
	}
}

func TestAPackageIsTheSameEachTime(t *testing.T) {
	var archives [2][]byte
	for i := range archives {
		path, err := Package(charts, t.TempDir(), "v1.2.3", ParseImage("gridlatch:v1.2.3"), time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if archives[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) != "gridlatch-v1.2.3.tgz" {
			t.Errorf("the package is %s", path)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two packages of one chart differ")
	}
}
