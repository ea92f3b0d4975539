package region

import (
	"bytes"
	"encoding/csv"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// point is a row of the table of points.
type point struct {
	latitude, longitude float64
	place, source       string
}

// points returns the points of each area.
func points(t *testing.T) map[string][]point {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(pointTable)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"area", "latitude", "longitude", "place", "source"}, rows[0]); diff != "" {
		t.Fatalf("the head of the table (-want +got):\n%s", diff)
	}
	table := map[string][]point{}
	for _, row := range rows[1:] {
		table[row[0]] = append(table[row[0]], point{degrees(t, row[1]), degrees(t, row[2]), row[3], row[4]})
	}
	return table
}

// degrees reads a coordinate with the two decimals that MET Norway asks for at most.
func degrees(t *testing.T, text string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || strconv.FormatFloat(value, 'f', 2, 64) != text {
		t.Errorf("%q is no coordinate with two decimals", text)
	}
	return value
}

func TestAnAreaHasFiveToTwelveDistinctPoints(t *testing.T) {
	t.Parallel()
	for area, list := range points(t) {
		if len(list) < 5 || len(list) > 12 {
			t.Errorf("%s has %d points", area, len(list))
		}
		taken := map[[2]float64]string{}
		for _, p := range list {
			at := [2]float64{p.latitude, p.longitude}
			if other, ok := taken[at]; ok {
				t.Errorf("%s: %s is where %s is", area, p.place, other)
			}
			if taken[at] = p.place; p.place == "" {
				t.Errorf("%s: the point %v has no name", area, at)
			}
		}
	}
}

// TestPointsAreInTheBoxOfTheirArea finds points that have lost a sign or are of another area. The boxes
// do not come from the data of the points: they are the borders of the area in whole degrees, with a
// degree of sea around. Boxes are wider where an area takes power from lines into another area.
func TestPointsAreInTheBoxOfTheirArea(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/areas.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	table := points(t)
	for _, row := range rows[1:] {
		var box [4]float64
		for i := range box {
			if box[i], err = strconv.ParseFloat(row[i+1], 64); err != nil {
				t.Fatalf("the box of %s: %v", row[0], err)
			}
		}
		for _, p := range table[row[0]] {
			if p.latitude < box[0] || p.longitude < box[1] || p.latitude > box[2] || p.longitude > box[3] {
				t.Errorf("%s: %s at %v,%v is outside of %v", row[0], p.place, p.latitude, p.longitude, box)
			}
		}
		delete(table, row[0])
	}
	for area := range table {
		t.Errorf("%s has no box", area)
	}
}

// TestEachPointHasASourceThatTheDocsName keeps the page about weather and the table together: licences
// ask that the sources are named.
func TestEachPointHasASourceThatTheDocsName(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Sources of the places\n")
	section, _, _ = strings.Cut(section, "\n#")
	named := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(section, -1) {
		named[row[1]] = false
	}
	for area, list := range points(t) {
		for _, p := range list {
			if _, ok := named[p.source]; !ok {
				t.Errorf("%s: the page does not name the source %q of %s", area, p.source, p.place)
			}
			named[p.source] = true
		}
	}
	for source, used := range named {
		if !used {
			t.Errorf("no point is from the source %s", source)
		}
	}
}

func TestEveryZoneOfTheTableOfRegionsHasPoints(t *testing.T) {
	t.Parallel()
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		for provider, zone := range r.Zones {
			if count := len(strings.Split(WeatherPoints(provider, zone), ";")); count < 5 || count > 12 {
				t.Errorf("%s: zone %s of %s has %d points", r.Name, zone, provider, count)
			}
		}
	}
}

func TestEveryAreaOfWattTimeHasPoints(t *testing.T) {
	t.Parallel()
	table := points(t)
	for _, known := range wattTimeAreas() {
		if len(table[known.area]) == 0 {
			t.Errorf("%s is in %s, which has no points", known.prefix, known.area)
		}
	}
}

func TestZonesAreInTheirAreas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ provider, zone, want string }{
		{"EnergyCharts", "de", "DE"}, {"EnergyCharts", "UK", "GB"}, {"UKCarbonIntensity", "RG10", "GB"}, {"WattTime", "PJM_CHICAGO", "US-MIDA-PJM"},
		{"WattTime", "SCE", ""}, {"ElectricityMaps", "SE-SE4", "SE"}, {"GridCarbon", "US-CAL-CISO", "US-CAL-CISO"}, {"GridCarbon", "US", ""},
		{"HTTP", "nonsense", ""}, {"HTTP", "", ""}, {"HTTP", "area", ""}, {"HTTP", "D", ""},
	} {
		if got := areaOf(tt.provider, tt.zone); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.provider, tt.zone, got, tt.want)
		}
	}
}
