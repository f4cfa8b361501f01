/* The floor: start /bin/true N times with two children alive at a time, and do nothing else. */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    long tasks = argc > 1 ? atol(argv[1]) : 1000;
    char *child[] = {"/bin/true", NULL};
    pid_t pid;
    int alive = 0;
    while (tasks > 0 || alive > 0) {
        while (tasks > 0 && alive < 2) {
            if (posix_spawn(&pid, child[0], NULL, NULL, child, environ) != 0) return 1;
            tasks--;
            alive++;
        }
        if (wait(NULL) < 0) return 1;
        alive--;
    }
    return 0;
}
