package region

import (
	_ "embed"
	"encoding/csv"
	"strings"
)

// pointTable has a row for each point of an area where weather counts: wind farms, solar farms and large
// towns. The coordinates are facts from open data, rounded to two decimals. The column source has the
// code of the data set, and docs/providers.md says what the codes mean. The code own marks points of no
// data set. The farms of an area were grouped by place, weighted by capacity. A point is a large farm
// near the centre of its group.
//
//go:embed points.csv
var pointTable string

// WeatherPoints returns where the weather of a zone counts, as "latitude,longitude" separated by
// semicolons, for a provider by its type in a CarbonPolicy. The text is empty if the table does not
// have the zone.
func WeatherPoints(provider, zone string) string {
	area := areaOf(provider, zone)
	rows, err := csv.NewReader(strings.NewReader(pointTable)).ReadAll()
	if err != nil || area == "" { // a test reads the table
		return ""
	}
	var points []string
	for _, row := range rows[1:] {
		if row[0] == area {
			points = append(points, row[1]+","+row[2])
		}
	}
	return strings.Join(points, ";")
}
