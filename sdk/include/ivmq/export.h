#ifndef IVMQ_EXPORT_H_
#define IVMQ_EXPORT_H_

// Marks what libivmq.so exports; everything else in it is hidden.
#define IVMQ_API __attribute__((visibility("default")))

#endif  // IVMQ_EXPORT_H_
