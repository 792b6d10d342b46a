/*
 * An instance that meets all duties, but for the fault that it is told to have.
 */

#ifndef BACKENDCHECK_T_FAKE_H
#define BACKENDCHECK_T_FAKE_H


#define FAKE_RELEASE  "/fake.Fake/End"


/* Serves on a free port until SIGTERM, after which it drains.  Prints
 * "listening on 127.0.0.1:PORT"; returns the exit code.  "fault" may be
 * "", or several with commas. */
int fake_main(const char *fault);


#endif /* BACKENDCHECK_T_FAKE_H */
