/* Addresses of clients, and networks of proxies that are trusted. */

#include <check.h>
#include <string.h>

#include "authsvc/serve/address.h"
#include "authsvc/t/suite.h"


static const struct {
    const char  *nets;
    const char  *peer;
    const char  *said;                  /* NULL: nothing */
    const char  *address;
} clients[] = {
    { "127.0.0.0/8,::1", "ipv4:127.0.0.1:4711", "192.0.2.7", "192.0.2.7" },
    { "127.0.0.0/8,::1", "ipv4:127.9.9.9:4711", "2001:DB8:0::7",
      "2001:db8::7" },
    { "127.0.0.0/8,::1", "ipv4:127.0.0.1:4711", NULL, "127.0.0.1" },
    { "127.0.0.0/8,::1", "ipv4:128.0.0.1:4711", "192.0.2.7", "128.0.0.1" },
    { "127.0.0.0/8,::1", "ipv6:[::1]:4711", "192.0.2.7", "192.0.2.7" },
    { "127.0.0.0/8,::1", "ipv6:%5B::1%5D:4711", "192.0.2.7", "192.0.2.7" },
    { "127.0.0.0/8,::1", "ipv6:%5B::2%5D:4711", "192.0.2.7", "::2" },
    { "127.0.0.0/8", "ipv6:%5B::ffff:127.0.0.1%5D:1", "::ffff:10.0.0.1",
      "10.0.0.1" },
    { "", "ipv4:127.0.0.1:4711", "192.0.2.7", "127.0.0.1" },
    { "10.1.2.0/23", "ipv4:10.1.3.255:1", "192.0.2.7", "192.0.2.7" },
    { "10.1.2.0/23", "ipv4:10.1.4.0:1", "192.0.2.7", "10.1.4.0" },
    { "10.1.2.3", "ipv4:10.1.2.3:1", "192.0.2.7", "192.0.2.7" },
    { "10.1.2.3", "ipv4:10.1.2.2:1", "192.0.2.7", "10.1.2.2" },
    { "0.0.0.0/0", "ipv4:10.1.2.2:1", "192.0.2.7", "192.0.2.7" },
    { "0.0.0.0/0", "ipv6:[2001:db8::1]:1", "192.0.2.7", "2001:db8::1" },
    { "::/0", "ipv4:10.1.2.2:1", "192.0.2.7", "192.0.2.7" },
    { "2001:db8::/33", "ipv6:[2001:db8:7fff::1]:1", "::2", "::2" },
    { "2001:db8::/33", "ipv6:[2001:db8:8000::1]:1", "::2",
      "2001:db8:8000::1" },
    { "127.0.0.1", "unix:/run/a.sock", "192.0.2.7", "unix" },
    { "127.0.0.1,unix", "unix:/run/a.sock", "192.0.2.7", "192.0.2.7" },
    { "unix", "unix:", NULL, "unix" },
    /* what is no address is not believed */
    { "127.0.0.1", "ipv4:127.0.0.1:1", "", "127.0.0.1" },
    { "127.0.0.1", "ipv4:127.0.0.1:1", "192.0.2.7, 10.0.0.1", "127.0.0.1" },
    { "127.0.0.1", "ipv4:127.0.0.1:1", "192.0.2.7\n", "127.0.0.1" },
    { "127.0.0.1", "ipv4:127.0.0.1:1", "localhost", "127.0.0.1" },
    { "127.0.0.1", "ipv4:127.0.0.1:1",
      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
      "127.0.0.1" },
    { "127.0.0.1", "", "192.0.2.7", "unknown" },
    { "0.0.0.0/0", "ipv4:", "192.0.2.7", "unknown" },
    { "0.0.0.0/0", "ipv4:1", "192.0.2.7", "unknown" },
    { "::/0", "ipv6:", "192.0.2.7", "unknown" },
    { "::/0", "ipv6:%5B%5D:1", "192.0.2.7", "unknown" },
    { "::/0", "ipv6:[:1", "192.0.2.7", "unknown" },
    { "::/0", "vsock:1:2", "192.0.2.7", "unknown" }
};


START_TEST(test_client)
{
    char            out[ADDRESS_TEXT], error[256];
    size_t          len;
    const char     *said;
    address_nets_t  nets;

    said = clients[_i].said;
    len = said != NULL ? strlen(said) : 0;

    ck_assert_int_eq(address_nets_parse(clients[_i].nets, &nets, error,
                                        sizeof(error)), 0);
    address_client(&nets, clients[_i].peer, said, len, out);
    ck_assert_str_eq(out, clients[_i].address);

    if (said != NULL) {
        address_client(&nets, clients[_i].peer, "1.2.3.4\0x", 9, out);
        ck_assert_str_ne(out, "1.2.3.4");
    }
}
END_TEST


static const struct {
    const char  *text;
    size_t       n;
    const char  *bad;                   /* NULL: accepted */
} lists[] = {
    { "", 0, NULL },
    { " , ", 0, NULL },
    { "unix", 0, NULL },
    { "127.0.0.1", 1, NULL },
    { " 127.0.0.1 , ::1/128,10.0.0.0/8,", 3, NULL },
    { "127.0.0.1/33", 0, "127.0.0.1/33" },
    { "::1/129", 0, "::1/129" },
    { "::1,127.0.0.1/", 0, "127.0.0.1/" },
    { "127.0.0.1/-1", 0, "127.0.0.1/-1" },
    { "127.0.0.1/0008", 0, "127.0.0.1/0008" },
    { "127.1", 0, "127.1" },
    { "/8", 0, "/8" },
    { "localhost", 0, "localhost" },
    { "unix:", 0, "unix:" }
};


START_TEST(test_lists)
{
    int             rc;
    char            error[256];
    address_nets_t  nets;

    rc = address_nets_parse(lists[_i].text, &nets, error, sizeof(error));

    if (lists[_i].bad == NULL) {
        ck_assert_int_eq(rc, 0);
        ck_assert_uint_eq(nets.n, lists[_i].n);
        return;
    }

    ck_assert_int_eq(rc, -1);
    ck_assert_ptr_nonnull(strstr(error, lists[_i].bad));
    ck_assert_ptr_nonnull(strstr(error, "is neither an address"));
}
END_TEST


START_TEST(test_many)
{
    int             i;
    char            text[1024], error[256];
    address_nets_t  nets;

    text[0] = '\0';
    for (i = 0; i < ADDRESS_NETS; i++) {
        strcat(text, "10.0.0.1,");
    }
    ck_assert_int_eq(address_nets_parse(text, &nets, error, sizeof(error)),
                     0);
    ck_assert_uint_eq(nets.n, ADDRESS_NETS);

    strcat(text, "10.0.0.2");
    ck_assert_int_eq(address_nets_parse(text, &nets, error, sizeof(error)),
                     -1);
    ck_assert_str_eq(error, "more than 32 networks at \"10.0.0.2\"");
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("address");
    tcase = tcase_create("address");
    tcase_add_loop_test(tcase, test_client, 0,
                        sizeof(clients) / sizeof(clients[0]));
    tcase_add_loop_test(tcase, test_lists, 0,
                        sizeof(lists) / sizeof(lists[0]));
    tcase_add_test(tcase, test_many);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
