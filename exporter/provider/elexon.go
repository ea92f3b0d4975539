package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	elexonURL = "https://data.elexon.co.uk/bmrs/api/v1"
	// elexonPage is how much one request asks for: the server allows 7 days.
	elexonPage = week
)

// An elexon asks Elexon's Insights what the operator of the grid of Great Britain expects a day ahead: of
// wind and sun (DGWS), and of the whole load (DATL). Rows of DGWS of September 2026 were seen in the tests of
// a program that keeps the server's answers. Of DATL, the documentation and programs that read its fields
// were seen. The only area is GB.
type elexon struct {
	client *client
	base   string
	now    func() time.Time
	book   powerBook
}

func newElexon(c WeatherConfig) (WeatherSource, error) {
	base, err := Config{BaseURL: c.BaseURL}.baseURL(elexonURL)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, ownLimit())
	return &elexon{client: client, base: base, now: c.Options.Now}, err
}

// DescribeWeather says that areas have names. A forecast comes once a day, in the afternoon. The licence
// demands the sentence with the year.
func (p *elexon) DescribeWeather() WeatherDescription {
	return WeatherDescription{
		Type: WeatherElexon, Source: "Elexon", Rhythm: 3 * time.Hour,
		Attribution: "Contains BMRS data © Elexon Limited copyright and database right " + strconv.Itoa(p.now().UTC().Year()),
	}
}

// Weather asks for the load, and for wind and sun, week by week.
func (p *elexon) Weather(ctx context.Context, zone string, _ []Point) (WeatherReading, error) {
	if !strings.EqualFold(zone, "GB") {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w: want GB", zone, ErrUnknownZone)
	}
	now := p.now()
	all := elexonRows{now: now, slots: map[elexonSlot]elexonValue{}}
	for from, end := p.book.from("GB", now), now.UTC().Add(powerHorizon); from.Before(end); from = from.Add(elexonPage) {
		query := url.Values{"from": {from.Format(minuteLayout)}, "to": {from.Add(elexonPage).Format(minuteLayout)}, "format": {"json"}}
		if err := p.ask(ctx, "/forecast/demand/total/day-ahead", query, func(body []byte) error { return all.parse(body, true) }); err != nil {
			return WeatherReading{}, fmt.Errorf("zone GB: forecast of the load: %w", err)
		}
		query.Set("processType", "Day ahead")
		if err := p.ask(ctx, "/forecast/generation/wind-and-solar/day-ahead", query, func(body []byte) error { return all.parse(body, false) }); err != nil {
			return WeatherReading{}, fmt.Errorf("zone GB: forecast of wind and sun: %w", err)
		}
	}
	return p.book.join("GB", all.power(), now)
}

func (p *elexon) ask(ctx context.Context, path string, query url.Values, parse func([]byte) error) error {
	body, err := p.client.get(ctx, request{url: p.base + path + "?" + query.Encode()})
	if err != nil {
		return err
	}
	return parse(body)
}

// elexonRows are the rows of all pages. Pages share the half hour at their borders, and a forecast may be
// published twice: the one that is published last counts.
type elexonRows struct {
	now   time.Time // rows that are far from now do not count
	slots map[elexonSlot]elexonValue
}

// An elexonSlot is half an hour of a kind of power.
type elexonSlot struct {
	start time.Time
	kind  powerKind
}

type elexonValue struct {
	published string
	megawatts float64
}

// An elexonRow is what is expected of half an hour.
type elexonRow struct {
	StartTime, PublishTime, PSRType, ProcessType string
	Quantity                                     *float64
}

// kind returns what a row is of. Rows of wind and sun that are no forecast of the day before do not count:
// the server has forecasts of the same day, too.
func (e *elexonRow) kind(isLoad bool) (kind powerKind, ok bool) {
	if isLoad {
		return loadPower, true
	}
	kind, ok = map[string]powerKind{"wind onshore": onshoreWind, "wind offshore": offshoreWind, "solar": sunPower}[strings.ToLower(e.PSRType)]
	return kind, ok && (e.ProcessType == "" || strings.EqualFold(e.ProcessType, "Day ahead"))
}

// parse notes the rows of a response. A row that cannot be read costs that row.
func (r *elexonRows) parse(body []byte, isLoad bool) error {
	var document struct{ Data list }
	if err := decode(body, &document); err != nil {
		return err
	}
	for _, raw := range document.Data {
		var e elexonRow
		if json.Unmarshal(raw, &e) != nil || e.Quantity == nil {
			continue
		}
		start, err := forecast.ParseTime(e.StartTime)
		kind, ok := e.kind(isLoad)
		slot := elexonSlot{start, kind}
		known, isKnown := r.slots[slot]
		if err == nil && ok && isPowerOfUse(start, r.now) && e.PublishTime >= known.published && (isKnown || len(r.slots) < maxElements) {
			r.slots[slot] = elexonValue{e.PublishTime, *e.Quantity}
		}
	}
	return checkList("data", document.Data)
}

// power returns the means by hour.
func (r *elexonRows) power() *powerHours {
	all := powerHours{now: r.now}
	for slot, value := range r.slots {
		all.add(slot.kind, slot.start, value.megawatts)
	}
	return &all
}
