/*
 * What nginx -t says of a configuration.
 */

#include <check.h>
#include <string.h>

#include "gateway.h"
#include "verdict.h"


#define DEPRECATED  "[warn] the \"listen ... http2\" directive is deprecated"


void
refused(const char *conf, const char *text)
{
    int          code;
    const char  *output;

    code = gateway_test(conf, &output);
    ck_assert_msg(code == 1, "exit code %d, expected 1 with \"%s\": %s", code,
                  text, output);
    ck_assert_msg(strstr(output, "[emerg]") != NULL, "no [emerg]: %s", output);
    ck_assert_msg(strstr(output, text) != NULL, "no \"%s\" in: %s", text,
                  output);
}


/* nginx 1.22 knows only the form of "listen" that later ones warn of */
void
accepted(const char *conf)
{
    int          code;
    const char  *output, *p;

    code = gateway_test(conf, &output);
    ck_assert_msg(code == 0, "exit code %d: %s", code, output);

    for (p = output; (p = strstr(p, "[warn]")) != NULL; p++) {
        ck_assert_msg(strncmp(p, DEPRECATED, sizeof(DEPRECATED) - 1) == 0,
                      "warns: %s", p);
    }
}
