package machine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"without arguments, the help is printed", nil, 0, "--forward ADDRESS=TARGET"},
		{"an unknown command is refused", []string{"start"}, 2, `unknown command "start"`},
		{"a node needs a kubeconfig", []string{"run", "--logs=logs"}, 2, "want --kubeconfig"},
		{"a forward has two addresses", []string{"run", "--forward=127.0.0.1:5000"}, 2, "want ADDRESS=TARGET"},
		{"a node that boots without an order fails", []string{bootCommand}, 1, "read the order"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var output bytes.Buffer
			if code := Main(tt.args, strings.NewReader(""), &output, &output); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(output.String(), tt.says) {
				t.Errorf("printed %q, want %q", output.String(), tt.says)
			}
		})
	}
}

func TestImagesRunTheirProgramAsAUserWithoutRights(t *testing.T) {
	programs := t.TempDir()
	for _, program := range []string{"pause", "work"} {
		if err := os.WriteFile(filepath.Join(programs, program), []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(t.TempDir(), "images.tar")
	if err := writeImages(archive, programs); err != nil {
		t.Fatal(err)
	}
	for reference, program := range map[string]string{pauseImage: "/pause", workImage: "/work"} {
		tag, err := name.NewTag(reference)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(archive, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Entrypoint; len(got) != 1 || got[0] != program {
			t.Errorf("%s runs %v, want %s", reference, got, program)
		}
		if config.Config.User != "65532:65532" {
			t.Errorf("%s runs as %q", reference, config.Config.User)
		}
	}
}

func TestTheCgroupsOfKilledNodesAreRemovedWithWhatIsInThem(t *testing.T) {
	top := filepath.Join(t.TempDir(), "gridlatch-node-1")
	if err := os.MkdirAll(filepath.Join(top, "kubepods", "besteffort"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, nothing is there
		if err := removeCgroup(top); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(top); !os.IsNotExist(err) {
		t.Errorf("the cgroup is left: %v", err)
	}
}
