package report

import (
	"fmt"
	"html"
	"strings"
)

// The measures of a plot in pixels.
const (
	svgWidth   = 760
	labelWidth = 300
	barHeight  = 16
	barGap     = 4
	valueWidth = 90
	titleRoom  = 40
)

// colours tell the servers apart; both on white and on dark paper they have contrast enough.
var colours = []struct{ prefix, colour string }{
	{"warren", "#c2410c"},
	{"Nchan", "#2563eb"},
	{"bare", "#6b7280"},
	{"r3labs", "#0d9488"},
	{"", "#7c3aed"},
}

// SVG draws the plotted metric of each scenario as bars, one panel below the other.
func (r *Report) SVG() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	y := 10
	for _, s := range r.scenarios {
		if s.Plot != "" {
			y = r.panel(&b, s, y)
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+
		"\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n%s</svg>\n", svgWidth, y, b.String())
}

// panel draws one scenario and answers where the next begins.
func (r *Report) panel(b *strings.Builder, s Scenario, y int) int {
	rows, _ := r.rowsAndMetrics(s.ID)
	most := 0.0
	for _, row := range rows {
		most = max(most, median(r.values[key{s.ID, row[0], row[1], s.Plot}]))
	}
	if most == 0 {
		return y
	}
	fmt.Fprintf(b, `<text x="10" y="%d" font-size="14" font-weight="bold">%s</text>`+"\n", y+18,
		html.EscapeString(fmt.Sprintf("(%s) %s: %s", s.ID, s.Title, s.Plot)))
	y += titleRoom - barHeight
	last := ""
	for _, row := range rows {
		values := r.values[key{s.ID, row[0], row[1], s.Plot}]
		if len(values) == 0 {
			continue
		}
		if row[0] != last {
			y += barGap
			last = row[0]
		}
		v := median(values)
		width := int(v / most * float64(svgWidth-labelWidth-valueWidth))
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+barHeight-4,
			html.EscapeString(strings.Trim(row[0]+", "+row[1], ", ")))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, labelWidth, y, max(width, 1), barHeight, colourOf(row[1]))
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", labelWidth+max(width, 1)+6, y+barHeight-4, number(v))
		y += barHeight + barGap
	}
	return y + titleRoom/2
}

func colourOf(server string) string {
	for _, c := range colours {
		if strings.HasPrefix(server, c.prefix) {
			return c.colour
		}
	}
	return "black"
}
