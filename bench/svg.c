/* Draws the figure of docs/performance.md. */

#include "bench/svg.h"

#include <string.h>

#include "bench/stats.h"


#define WIDTH    760
#define HEIGHT   300
#define LEFT     50
#define TOP      50
#define BOTTOM   40
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))


typedef struct {
    const char  *row;
    const char  *name;
    const char  *color;
} bar_t;


static const char *const  loads[] = {
    "c16m1", "c64m1", "c4m32", "c16m1-16k", "c16m1-tls"
};

static const bar_t  bars[] = {
    { "nginx", "bare nginx", "#8a8f98" },
    { "haproxy", "HAProxy", "#c98a3a" },
    { "gateway", "gateway", "#2b6cb0" },
    { "multiplex", "gateway, multiplexing", "#1f4e79" },
    { "claims", "gateway, token not forwarded", "#63a4e0" }
};


static double
svg_top(const json_t *tables)
{
    size_t   i, j;
    double   top;
    stats_t  stats;

    top = 0;

    for (i = 0; i < COUNT(loads); i++) {
        for (j = 0; j < COUNT(bars); j++) {
            if (stats_get(tables, loads[i], bars[j].row, "cpu", &stats) == 0
                && stats.max > top)
            {
                top = stats.max;
            }
        }
    }

    return top;
}


static void
svg_bar(FILE *out, const stats_t *stats, const bar_t *bar, double x,
    double width, double scale)
{
    double  y, base;

    base = HEIGHT - BOTTOM;
    y = base - stats->median * scale;

    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
            "fill=\"%s\"/>\n", x, y, width - 3, base - y, bar->color);
    fprintf(out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" "
            "stroke=\"#222\"/>\n", x + (width - 3) / 2, x + (width - 3) / 2,
            base - stats->min * scale, base - stats->max * scale);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
            "fill=\"#fff\">%.1f</text>\n", x + (width - 3) / 2, base - 6,
            stats->median);
}


void
svg_write(FILE *out, const json_t *tables, const char *caption)
{
    size_t   i, j, n;
    double   scale, group, width, x;
    stats_t  stats;

    n = 0;
    for (i = 0; i < COUNT(loads); i++) {
        n += json_object_get(tables, loads[i]) != NULL;
    }

    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
            "font-size=\"11\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
            "<text x=\"%d\" y=\"18\" font-size=\"13\">CPU of the proxy per "
            "unary call, microseconds (median, line: min to max)</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);

    for (j = 0, x = LEFT; j < COUNT(bars); j++) {
        fprintf(out, "<rect x=\"%.0f\" y=\"28\" width=\"10\" height=\"10\" "
                "fill=\"%s\"/><text x=\"%.0f\" y=\"37\">%s</text>\n", x,
                bars[j].color, x + 14, bars[j].name);
        x += 40 + 6.5 * (double) strlen(bars[j].name);
    }

    if (n > 0) {
        scale = (HEIGHT - TOP - BOTTOM) / svg_top(tables);
        group = (double) (WIDTH - LEFT - 20) / (double) n;
        width = (group - 24) / COUNT(bars);
        x = LEFT;

        for (i = 0; i < COUNT(loads); i++) {
            if (json_object_get(tables, loads[i]) == NULL) {
                continue;
            }

            for (j = 0; j < COUNT(bars); j++) {
                if (stats_get(tables, loads[i], bars[j].row, "cpu", &stats)
                    == 0)
                {
                    svg_bar(out, &stats, &bars[j], x + (double) j * width,
                            width, scale);
                }
            }

            fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s"
                    "</text>\n", x + (group - 24) / 2, HEIGHT - BOTTOM + 14,
                    loads[i]);
            x += group;
        }
    }

    fprintf(out, "<text x=\"%d\" y=\"%d\" fill=\"#666\" font-size=\"9\">%s"
            "</text>\n</svg>\n", LEFT, HEIGHT - 8, caption);
}
