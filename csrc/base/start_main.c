/* SPDX-License-Identifier: Apache-2.0 */
/* The executor's own start: no libc means no relocation, no locale, no TLS set up at each container start. */
#include <stddef.h>

int executor_main(int argc, char **argv);
__attribute__((used, noreturn)) void start_c(long *stack);

void start_c(long *stack)
{
    int argc = (int)stack[0];
    int code = executor_main(argc, (char **)(stack + 1));
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(231L), "D"((long)code) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = 94;
    register long x0 __asm__("x0") = code;
    __asm__ volatile("svc 0" : : "r"(x8), "r"(x0) : "memory");
#endif
    __builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".text\n.global _start\n.type _start,@function\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start_c\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.global _start\n.type _start,%function\n_start:\n\tmov x29,#0\n\tmov x0,sp\n\tbl start_c\n\tbrk #1\n");
#endif

/* The compiler may call these four whatever the source says. */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
char *strchr(const char *text, int c);
char *strrchr(const char *text, int c);

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
#if defined(__x86_64__)
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
#else
    unsigned char *t = to;
    const unsigned char *f = from;
    while (size-- > 0) {
        *t++ = *f++;
        __asm__ volatile("" ::: "memory"); /* or the loop becomes a call of memcpy */
    }
    return to;
#endif
}

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    if (t <= f)
        for (size_t i = 0; i < size; i++) {
            t[i] = f[i];
            __asm__ volatile("" ::: "memory");
        }
    else
        while (size-- > 0) {
            t[size] = f[size];
            __asm__ volatile("" ::: "memory");
        }
    return to;
}

void *memset(void *to, int byte, size_t size)
{
#if defined(__x86_64__)
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
    return result;
#else
    unsigned char *t = to;
    while (size-- > 0) {
        *t++ = (unsigned char)byte;
        __asm__ volatile("" ::: "memory");
    }
    return to;
#endif
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a;
    const unsigned char *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *text)
{
    size_t size = 0;
    while (text[size] != '\0') {
        size++;
        __asm__ volatile("" ::: "memory");
    }
    return size;
}

int strcmp(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (int)(unsigned char)*a - (int)(unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
    for (; size > 0; a++, b++, size--) {
        if (*a != *b)
            return (int)(unsigned char)*a - (int)(unsigned char)*b;
        if (*a == '\0')
            break;
    }
    return 0;
}

char *strchr(const char *text, int c)
{
    for (;; text++) {
        if (*text == (char)c)
            return (char *)(unsigned long)text;
        if (*text == '\0')
            return NULL;
    }
}

char *strrchr(const char *text, int c)
{
    const char *found = NULL;
    for (;; text++) {
        if (*text == (char)c)
            found = text;
        if (*text == '\0')
            return (char *)(unsigned long)found;
    }
}
