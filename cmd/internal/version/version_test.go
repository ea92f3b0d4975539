package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuild(t *testing.T) {
	recorded := func(version, commit, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Version: version},
			Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: modified}},
		}
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for _, tc := range []struct {
		name                   string
		version, commit        string
		info                   *debug.BuildInfo
		wantVersion, wantKnown string
		wantText               string
	}{
		{
			"what make says comes first", "v1.2.3", "abc", recorded("v0.9.0", "def", "true"),
			"v1.2.3", "abc", "v1.2.3 (commit abc, " + runtime.Version() + ", " + platform + ")",
		},
		{
			"go install knows the version only", "", "", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}},
			"v1.2.3", "", "v1.2.3 (commit unknown, " + runtime.Version() + ", " + platform + ")",
		},
		{
			"go build in a checkout knows the commit", "", "", recorded("v1.2.4-0.20261126170000-def", "def", "false"),
			"v1.2.4-0.20261126170000-def", "def", "v1.2.4-0.20261126170000-def (commit def, " + runtime.Version() + ", " + platform + ")",
		},
		{
			"a changed checkout is called dirty", "", "", recorded("(devel)", "def", "true"),
			"dev", "def-dirty", "dev (commit def-dirty, " + runtime.Version() + ", " + platform + ")",
		},
		{
			"nobody knows anything", "", "", nil,
			"dev", "", "dev (commit unknown, " + runtime.Version() + ", " + platform + ")",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := newBuild(tc.version, tc.commit, tc.info)
			want := Build{Version: tc.wantVersion, Commit: tc.wantKnown, Go: runtime.Version(), Platform: platform}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("build (-want +got):\n%s", diff)
			}
			if got.String() != tc.wantText {
				t.Errorf("text %q, want %q", got, tc.wantText)
			}
		})
	}
}

func TestUserAgentBeginsWithTheNameOfTheFieldManager(t *testing.T) {
	const want = "gridlatch/v1.2.3 (+https://github.com/gridlatch/gridlatch)"
	if got := (Build{Version: "v1.2.3"}).UserAgent("gridlatch"); got != want {
		t.Errorf("user agent %q, want %q", got, want)
	}
}
