// Command dist writes what users install a release from: install.yaml and the packaged chart.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gridlatch/gridlatch/test/helm/chart"
)

func main() {
	top := flag.String("top", "../..", "the top of the repository")
	out := flag.String("out", "../../dist", "where the files go")
	version := flag.String("version", "v0.0.0-dev", "version of the release")
	image := flag.String("image", "gridlatch:dev", "image of the release")
	epoch := flag.Int64("epoch", 0, "time of the files in the chart, in seconds since 1970")
	flag.Parse()
	if err := write(*top, *out, *version, chart.ParseImage(*image), time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(top, out, version string, image chart.Image, modified time.Time) error {
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	text, err := chart.Install(filepath.Join(top, "manifests"), version, image)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "install.yaml"), text, 0o600); err != nil {
		return err
	}
	_, err = chart.Package(filepath.Join(top, "charts", "gridlatch"), out, version, image, modified)
	return err
}
