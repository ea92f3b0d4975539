package backtest_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

func TestReadActuals(t *testing.T) {
	slot := func(from, to float64, intensity float64) forecast.Slot {
		return forecast.Slot{Start: at(from), End: at(to), Intensity: intensity}
	}
	tests := map[string]struct {
		text    string
		want    []forecast.Slot
		width   time.Duration
		gaps    int
		missing time.Duration
		rows    backtest.SkippedRows
		doubted int
	}{
		"hours": {
			text: "timestamp,intensity\n2021-07-01T00:00:00Z,100\n2021-07-01T01:00:00Z,200.5\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(1, 2, 200.5)}, width: hour,
		},
		"a byte order mark, CRLF, spaces, quotes, another order, capitals, a zone, and no last newline": {
			text: "\ufeffIntensity, Timestamp\r\n100, 2021-07-01T02:00:00+02:00\r\n\"-3\",\"2021-07-01T00:30:00Z\"",
			want: []forecast.Slot{slot(0, 0.5, 100), slot(0.5, 1, -3)}, width: 30 * time.Minute,
		},
		"a gap": {
			text: "timestamp,intensity\n2021-07-01T00:00:00Z,1\n2021-07-01T01:00:00Z,2\n2021-07-01T04:00:00Z,3\n2021-07-01T05:00:00Z,4\n",
			want: []forecast.Slot{slot(0, 1, 1), slot(1, 2, 2), slot(4, 5, 3), slot(5, 6, 4)}, width: hour, gaps: 1, missing: 2 * hour,
		},
		"no order, and no zone": {
			text: "timestamp,intensity\n2021-07-01 01:00:00,200\n2021-07-01T00:00,100\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(1, 2, 200)}, width: hour,
		},
		"the columns of Electricity Maps": {
			text: "Datetime (UTC),Country,Zone name,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),Data source\n" +
				"2021-07-01 00:00:00,Germany,Germany,80,100,entsoe.eu\n2021-07-01 01:00:00,Germany,\"Germany, all\",180,200,entsoe.eu\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(1, 2, 200)}, width: hour,
		},
		"other columns that are usual": {
			text: "zone,datetime,carbon_intensity,isEstimated\nDE,2021-07-01T00:00:00.000Z,100,true\nDE,2021-07-01T01:00:00.000Z,200,\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(1, 2, 200)}, width: hour,
		},
		"the columns of the United Kingdom's operator": {
			text: "Datetime (UTC),Actual Carbon Intensity (gCO2/kWh),Forecast Carbon Intensity (gCO2/kWh),Index\n2021-07-01T00:00Z,100,111,low\n2021-07-01T00:30Z,200,222,moderate\n",
			want: []forecast.Slot{slot(0, 0.5, 100), slot(0.5, 1, 200)}, width: 30 * time.Minute,
		},
		"columns with units": {
			text: "utc_timestamp,region,carbon_intensity_gCO2eq_per_kWh\n2021-07-01T00:00Z,X,100\n2021-07-01T01:00Z,X,200\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(1, 2, 200)}, width: hour,
		},
		"rows that do not count": {
			text: "timestamp,intensity\n2021-07-01T00:00:00Z,100\n2021-07-01T01:00:00Z,\n2021-07-01T02:00:00Z,NaN\n2021-07-01T03:00:00Z,300\n" +
				"2021-07-01T03:00:00Z,333\n2021-07-01T04:00:00Z,200,2\n , \n2021-07-01T05:00:00Z,100\n2021-07-01T06:00:00Z,-999\n2021-07-01T07:00:00Z,0\n2021-07-01T08:00:00Z,110\n",
			want: []forecast.Slot{slot(0, 1, 100), slot(3, 4, 300), slot(5, 6, 100), slot(8, 9, 110)}, width: hour, gaps: 3, missing: 5 * hour,
			rows: backtest.SkippedRows{Unreadable: 4, Problem: `grid.csv, line 3, column 22: intensity "": want gCO2eq/kWh, a number from -1000000 to 1000000`, Repeated: 1}, doubted: 2,
		},
		"a slot that is shorter than the others": {
			text: "timestamp,intensity\n2021-07-01T00:00:00Z,1\n2021-07-01T01:00:00Z,2\n2021-07-01T01:30:00Z,3\n2021-07-01T02:30:00Z,4\n",
			want: []forecast.Slot{slot(0, 1, 1), slot(1, 1.5, 2), slot(1.5, 2.5, 3), slot(2.5, 3.5, 4)}, width: hour,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := backtest.ReadActuals("grid.csv", strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Series.Slots()); diff != "" {
				t.Errorf("slots (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.rows, got.Skipped); diff != "" || got.Doubted != tt.doubted || (got.Doubt == "") != (tt.doubted == 0) {
				t.Errorf("%d not believed: %q; rows (-want +got):\n%s", got.Doubted, got.Doubt, diff)
			}
			if got.SlotWidth != tt.width || got.Gaps != tt.gaps || got.MissingTime != tt.missing {
				t.Errorf("slots of %s, %d gaps of %s; want %s, %d of %s", got.SlotWidth, got.Gaps, got.MissingTime, tt.width, tt.gaps, tt.missing)
			}
		})
	}
}

func TestReadForecasts(t *testing.T) {
	text := "issued,timestamp,intensity\n" +
		"2021-07-01T06:00:00Z,2021-07-01T06:00:00Z,5\n" +
		"2021-07-01T00:00:00Z,2021-07-01T00:00:00Z,1\n" +
		"2021-07-01T00:00:00Z,2021-07-01T02:00:00Z,3\n" +
		"2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,2\n" +
		"2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,9\n"
	got, err := backtest.ReadForecasts("forecast.csv", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.SlotWidth != hour || got.Skipped.Repeated != 1 || len(got.Documents) != 2 {
		t.Fatalf("slots of %s, %d repeated, %d forecasts; want 1h, 1, 2", got.SlotWidth, got.Skipped.Repeated, len(got.Documents))
	}
	for i, want := range []*forecast.Series{hourly(0, 1, 2, 3), hourly(6, 5)} {
		if diff := cmp.Diff(want.Slots(), got.Documents[i].Series.Slots()); diff != "" {
			t.Errorf("forecast %d (-want +got):\n%s", i, diff)
		}
	}
	if !got.Documents[0].Issued.Equal(at(0)) || !got.Documents[1].Issued.Equal(at(6)) {
		t.Errorf("issued %s and %s, want them in order", got.Documents[0].Issued, got.Documents[1].Issued)
	}
}

func TestReadWeather(t *testing.T) {
	nan := math.NaN()
	at := func(hours float64, wind, temperature, sun float64) forecast.WeatherHour {
		return forecast.WeatherHour{Start: at(hours), WindSpeed: wind, Temperature: temperature, SolarRadiation: sun, WindShare: nan, SolarShare: nan}
	}
	const head, first = "issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation\n", "2021-07-01T00:00:00Z,2021-07-01T00:00:00Z,"
	for name, tt := range map[string]struct {
		text    string
		want    []forecast.WeatherHour
		unknown int
		rows    backtest.SkippedRows
	}{
		"all columns":          {head + first + "5,-3.5,0\n2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,6,1,100\n", []forecast.WeatherHour{at(0, 5, -3.5, 0), at(1, 6, 1, 100)}, 0, backtest.SkippedRows{}},
		"no order":             {head + "2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,6,1,100\n" + first + "5,-3.5,0\n", []forecast.WeatherHour{at(0, 5, -3.5, 0), at(1, 6, 1, 100)}, 0, backtest.SkippedRows{}},
		"wind alone":           {"issued,timestamp,Wind_Speed_100m\n" + first + "9\n", []forecast.WeatherHour{at(0, 9, nan, nan)}, 0, backtest.SkippedRows{}},
		"the higher wind":      {"issued,timestamp,wind_speed_10m,wind_speed_100m\n" + first + "5,9\n", []forecast.WeatherHour{at(0, 9, nan, nan)}, 0, backtest.SkippedRows{}},
		"columns with units":   {"issued,time,wind_speed_10m (m/s),temperature_2m (°C),shortwave_radiation (W/m²)\n" + first + "5,6,7\n", []forecast.WeatherHour{at(0, 5, 6, 7)}, 0, backtest.SkippedRows{}},
		"values that are none": {head + first + ",NaN,1e999\n", []forecast.WeatherHour{at(0, nan, nan, nan)}, 3, backtest.SkippedRows{}},
		"rows that do not count": {
			head + "yesterday,2021-07-01T00:00:00Z,1,1,1\n" + first + "5,6,7\n" + first + "8,8,8\n", []forecast.WeatherHour{at(0, 5, 6, 7)}, 0,
			backtest.SkippedRows{Unreadable: 1, Problem: `w.csv, line 2, column 1: issued "yesterday": want RFC 3339 in the years 2000 to 2200, such as 2021-07-01T00:00:00Z`, Repeated: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := backtest.ReadWeather("w.csv", strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			want := backtest.WeatherIssues{
				Issues: []backtest.WeatherIssue{{Issued: tt.want[0].Start, Weather: tt.want}}, Hours: len(tt.want), UnknownValues: tt.unknown, Skipped: tt.rows,
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadJobs(t *testing.T) {
	got, err := backtest.ReadJobs("jobs.csv", strings.NewReader("arrival,duration,slack,weight\n2021-07-01T05:00:00Z,90m,1d12h,2.5\n2021-07-01T00:00:00Z,PT2H,0,1\n"))
	want := []backtest.Job{
		{Arrival: at(5), Duration: 90 * time.Minute, Slack: 36 * hour, Weight: 2.5},
		{Arrival: at(0), Duration: 2 * hour, Weight: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, jobs (-want +got):\n%s", err, diff)
	}
	got, err = backtest.ReadJobs("jobs.csv", strings.NewReader("slack,arrival,duration\n0h,2021-07-01T00:00:00Z,2h\n"))
	if diff := cmp.Diff(want[1:], got); diff != "" || err != nil {
		t.Errorf("without weights: error %v, jobs (-want +got):\n%s", err, diff)
	}
}

func TestBadFilesSayWhereAndWhatIsAllowed(t *testing.T) {
	const head, first = "timestamp,intensity\n", "2021-07-01T00:00:00Z,1\n"
	const weather = "issued,timestamp[,wind_speed_10m][,temperature_2m][,shortwave_radiation][,wind_share][,solar_share]"
	const few, enough = "f.csv has ", ": want at least two, since the distance of two timestamps is the width of a slot"
	const more = enough + "; 1 cannot be read, the first: "
	tests := map[string]struct {
		read string
		text string
		want string
	}{
		"empty":                   {text: "", want: `f.csv is empty: want the columns timestamp,intensity, and at least one row`},
		"only a byte order mark":  {text: "\ufeff", want: `f.csv is empty: want the columns timestamp,intensity, and at least one row`},
		"no rows":                 {text: head, want: few + `0 usable rows` + enough},
		"one row":                 {text: head + first, want: few + `1 usable rows` + enough},
		"no header":               {text: first + first, want: `f.csv, line 1: no column "timestamp": want the columns timestamp,intensity`},
		"a missing column":        {text: "timestamp\n" + first, want: `f.csv, line 1: no column "intensity": want the columns timestamp,intensity`},
		"a row that is too long":  {text: head + first + "2021-07-01T01:00:00Z,1,2\n", want: few + `1 usable rows` + more + `f.csv, line 3: 3 columns, want 2: timestamp,intensity`},
		"a row that is too short": {text: head + first + "2021-07-01T01:00:00Z\n", want: few + `1 usable rows` + more + `f.csv, line 3: 1 columns, want 2: timestamp,intensity`},
		"a bad quote":             {text: head + "\"2021,1\n", want: `f.csv, line 2, column 9: extraneous or missing " in quoted-field: want CSV, plain or with "quoted" fields`},
		"a bad timestamp":         {text: head + "yesterday,1\n", want: few + `0 usable rows` + more + `f.csv, line 2, column 1: timestamp "yesterday": want RFC 3339 in the years 2000 to 2200, such as 2021-07-01T00:00:00Z`},
		"a year far away":         {text: head + "1821-07-01T00:00:00Z,1\n", want: few + `0 usable rows` + more + `f.csv, line 2, column 1: timestamp "1821-07-01T00:00:00Z": want RFC 3339 in the years 2000 to 2200, such as 2021-07-01T00:00:00Z`},
		"not a number":            {text: head + first + "2021-07-01T01:00:00Z,NaN\n", want: few + `1 usable rows` + more + `f.csv, line 3, column 22: intensity "NaN": want gCO2eq/kWh, a number from -1000000 to 1000000`},
		"an infinity":             {text: head + "2021-07-01T01:00:00Z,-Inf\n", want: few + `0 usable rows` + more + `f.csv, line 2, column 22: intensity "-Inf": want gCO2eq/kWh, a number from -1000000 to 1000000`},
		"a huge number":           {text: head + "2021-07-01T01:00:00Z,1e7\n", want: few + `0 usable rows` + more + `f.csv, line 2, column 22: intensity "1e7": want gCO2eq/kWh, a number from -1000000 to 1000000`},
		"no number":               {text: head + "2021-07-01T01:00:00Z,\n", want: few + `0 usable rows` + more + `f.csv, line 2, column 22: intensity "": want gCO2eq/kWh, a number from -1000000 to 1000000`},
		"a duplicate":             {text: head + first + first, want: few + `1 usable rows` + enough},
		"a bad line after CRLF":   {text: "timestamp,intensity\r\n2021-07-01T00:00:00Z,1\r\n2021-07-01T01:00:00Z,x\r\n", want: few + `1 usable rows` + more + `f.csv, line 3, column 22: intensity "x": want gCO2eq/kWh, a number from -1000000 to 1000000`},
		"a forecast of nothing":   {read: "forecast", text: "issued,timestamp,intensity\n", want: `f.csv has no forecast of two rows: the distance of two timestamps of a forecast is the width of a slot`},
		"actuals for a forecast":  {read: "forecast", text: head + first, want: `f.csv, line 1: no column "issued": want the columns issued,timestamp,intensity`},
		"a bad forecast":          {read: "forecast", text: "issued,timestamp,intensity\nx,y,z\n", want: `f.csv has no forecast of two rows: the distance of two timestamps of a forecast is the width of a slot; 1 cannot be read, the first: f.csv, line 2, column 1: issued "x": want RFC 3339 in the years 2000 to 2200, such as 2021-07-01T00:00:00Z`},
		"nothing but zeros":       {text: head + "2021-07-01T00:00:00Z,0\n2021-07-01T01:00:00Z,0\n", want: `f.csv: 2 of 2 values are not believed, and count as not known: 0 from 2021-07-01T00:00:00Z to 2021-07-01T02:00:00Z`},
		"a job that is too long":  {read: "jobs", text: "arrival,duration,slack\n2021-07-01T00:00:00Z,1h,2h,3\n", want: `f.csv, line 2: 4 columns, want 3: arrival,duration,slack`},
		"a job column twice":      {read: "jobs", text: "arrival,arrival,duration,slack\n", want: `f.csv, line 1, column 9: "arrival": want the columns arrival,duration,slack[,weight]`},
		"no jobs":                 {read: "jobs", text: "arrival,duration,slack\n", want: `f.csv has no jobs: want at least one row`},
		"a bad duration":          {read: "jobs", text: "arrival,duration,slack\n2021-07-01T00:00:00Z,1,2h\n", want: `f.csv, line 2, column 22: duration "1": want a duration such as 90m, 8h, 1d12h or PT8H`},
		"a negative slack":        {read: "jobs", text: "arrival,duration,slack\n2021-07-01T00:00:00Z,1h,-2h\n", want: `f.csv, line 2, column 25: slack "-2h": want a duration such as 90m, 8h, 1d12h or PT8H`},
		"a weight of nothing":     {read: "jobs", text: "arrival,duration,slack,weight\n2021-07-01T00:00:00Z,1h,2h,0\n", want: `f.csv, line 2, column 28: weight "0": want a number above 0 and up to 1000000000`},
		"weather of no time":      {read: "weather", text: "timestamp,wind\n2021-07-01T00:00:00Z,1\n", want: `f.csv, line 1: no column "issued": want the columns ` + weather},
		"weather without a row":   {read: "weather", text: "issued,timestamp,wind\n", want: `f.csv has no usable row`},
		"weather of nothing":      {read: "weather", text: "issued,timestamp,rain\n2021-07-01T00:00:00Z,2021-07-01T00:00:00Z,1\n", want: `f.csv, line 1: no weather: want one of the columns wind_speed_10m, temperature_2m, shortwave_radiation, wind_share, solar_share`},
		"an unknown job column":   {read: "jobs", text: "arrival,duration,slack,name\n", want: `f.csv, line 1, column 24: "name": want the columns arrival,duration,slack[,weight]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := read(tt.read, tt.text); err == nil || err.Error() != tt.want {
				t.Errorf("error\n%v, want\n%s", err, tt.want)
			}
		})
	}
}

func read(kind, text string) (err error) {
	switch kind {
	case "forecast":
		_, err = backtest.ReadForecasts("f.csv", strings.NewReader(text))
	case "weather":
		_, err = backtest.ReadWeather("f.csv", strings.NewReader(text))
	case "jobs":
		_, err = backtest.ReadJobs("f.csv", strings.NewReader(text))
	default:
		_, err = backtest.ReadActuals("f.csv", strings.NewReader(text))
	}
	return err
}

func TestParsePolicy(t *testing.T) {
	for _, text := range []string{"gridlatch", "immediate", "oracle", "lowest-slot", "greedy", "foresight", "uninterrupted", "threshold=200", "percentile=12.5"} {
		if p, err := backtest.ParsePolicy(text); err != nil || p.String() != text {
			t.Errorf("%s is read as %s, error %v", text, p, err)
		}
	}
	for text, want := range map[string]string{
		"best":           `unknown policy "best": want gridlatch, immediate, oracle, threshold=G, percentile=P, lowest-slot, greedy, foresight, uninterrupted or fixed`,
		"gridlatch=1":    `policy "gridlatch=1": want no number for gridlatch`,
		"threshold":      `policy "threshold": want gCO2eq/kWh as a number from 0 to 1000000, such as 200`,
		"percentile=101": `policy "percentile=101": want a percentile from 0 to 100, such as percentile=20`,
		"percentile=NaN": `policy "percentile=NaN": want a percentile from 0 to 100, such as percentile=20`,
	} {
		if _, err := backtest.ParsePolicy(text); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestRegularJobs(t *testing.T) {
	jobs, err := backtest.RegularJobs(at(0), at(5), 3*hour, []time.Duration{hour}, []time.Duration{0, hour})
	want := []backtest.Job{job(0, 1, 0), job(0, 1, 1), job(3, 1, 0), job(3, 1, 1)}
	if diff := cmp.Diff(want, jobs); diff != "" || err != nil {
		t.Errorf("error %v, jobs (-want +got):\n%s", err, diff)
	}
	if _, err := backtest.RegularJobs(at(0), at(1e5), time.Microsecond, []time.Duration{hour}, []time.Duration{0}); err == nil {
		t.Error("no error for billions of jobs")
	}
}

// FuzzRead wants every file to be read or refused in one line that names the file. What is read
// must be usable.
func FuzzRead(f *testing.F) {
	f.Add("timestamp,intensity\n2021-07-01T00:00:00Z,1\n2021-07-01T01:00:00Z,2\n")
	f.Add("issued,timestamp,intensity\n2021-07-01T00:00:00Z,2021-07-01T00:00:00Z,1\n2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,1\n")
	f.Add("issued,timestamp,wind_speed_10m,temperature_2m\n2021-07-01T00:00:00Z,2021-07-01T00:00:00Z,1,\n2021-07-01T00:00:00Z,2021-07-01T01:00:00Z,NaN,1e999\n")
	f.Add("arrival,duration,slack,weight\n2021-07-01T00:00:00Z,1h,2h,0.5\n")
	f.Add("\ufeff\"timestamp\",intensity\r\n\"2021\n,")
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{"", "forecast", "weather", "jobs"} {
			if err := read(kind, text); err != nil && (!strings.HasPrefix(err.Error(), "f.csv") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error %q, want one line that begins with the file's name", err)
			}
		}
		actuals, err := backtest.ReadActuals("f.csv", strings.NewReader(text))
		if err == nil && (actuals.SlotWidth <= 0 || actuals.Series.IsEmpty() || actuals.MissingTime < 0) {
			t.Errorf("read %+v without an error", actuals)
		}
	})
}
